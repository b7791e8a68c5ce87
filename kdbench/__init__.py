"""Train, compress, measure and judge models: accuracy, latency, memory, MACs, size and energy of students and teachers.

`import kdbench` loads nothing heavy: a public name is imported from its module when it is first used. The names in
`__all__` are public, with their documented parameters and attributes; the rest of the package is private and may
change.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdbench import losses
    from kdbench.api.callables import CallableTimes, time_callable
    from kdbench.api.decisions import Comparison, Verdict
    from kdbench.api.judging import compare, judge
    from kdbench.api.measuring import bench
    from kdbench.api.results import Results
    from kdbench.api.study import Study, run, train
    from kdbench.api.sweeping import SweepResults, sweep
    from kdbench.errors import KdbenchError
    from kdbench.recipe import Measure, Recipe
    from kdbench.recipe.loading import load_recipe
    from kdbench.results.cards import ModelCard
    from kdbench.results.records import Measurement, Pair, RunRecord

from kdbench.installation import __version__

__all__ = [
    "CallableTimes",
    "Comparison",
    "KdbenchError",
    "Measure",
    "Measurement",
    "ModelCard",
    "Pair",
    "Recipe",
    "Results",
    "RunRecord",
    "Study",
    "SweepResults",
    "Verdict",
    "__version__",
    "bench",
    "compare",
    "judge",
    "load_recipe",
    "losses",
    "run",
    "sweep",
    "time_callable",
    "train",
]

_MODULES = {
    "CallableTimes": "kdbench.api.callables",
    "Comparison": "kdbench.api.decisions",
    "KdbenchError": "kdbench.errors",
    "Measure": "kdbench.recipe",
    "Measurement": "kdbench.results.records",
    "ModelCard": "kdbench.results.cards",
    "Pair": "kdbench.results.records",
    "Recipe": "kdbench.recipe",
    "Results": "kdbench.api.results",
    "RunRecord": "kdbench.results.records",
    "Study": "kdbench.api.study",
    "SweepResults": "kdbench.api.sweeping",
    "Verdict": "kdbench.api.decisions",
    "bench": "kdbench.api.measuring",
    "compare": "kdbench.api.judging",
    "judge": "kdbench.api.judging",
    "load_recipe": "kdbench.recipe.loading",
    "losses": "kdbench",
    "run": "kdbench.api.study",
    "sweep": "kdbench.api.sweeping",
    "time_callable": "kdbench.api.callables",
    "train": "kdbench.api.study",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kdbench' has no attribute {name!r}")
    if _MODULES[name] == __name__:  # a module of this package
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package, in which a function of the API may have the name of a sub-package.

    When a sub-package such as `kdbench.judge` is imported, Python replaces the function of that name with it. Such a
    sub-package is therefore callable and calls the function: `kdbench.judge(…)` works whatever was imported before.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _MODULES.get(name, __name__) != __name__:
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    @property
    def __doc__(self) -> Any:  # type: ignore[override]  # for help() and a notebook's `?`
        return self._function.__doc__

    @property
    def __signature__(self) -> Any:
        from inspect import signature

        return signature(self._function)

    @property
    def _function(self) -> Any:
        return __getattr__(self.__name__.rpartition(".")[2])


sys.modules[__name__].__class__ = _Package
