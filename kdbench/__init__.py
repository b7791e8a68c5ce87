"""Benchmark and profile compressed models: accuracy, latency, MACs, size and energy, teacher to student.

`import kdbench` loads nothing heavy: a public name is imported from its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdbench.benching import bench
    from kdbench.cards import ModelCard
    from kdbench.errors import KdbenchError
    from kdbench.pipeline import run, train
    from kdbench.recipe import Recipe
    from kdbench.recipes import load_recipe
    from kdbench.records import Measurement, RunRecord
    from kdbench.verdicts import Comparison, Verdict

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "KdbenchError",
    "Measurement",
    "ModelCard",
    "Recipe",
    "RunRecord",
    "Verdict",
    "__version__",
    "bench",
    "load_recipe",
    "run",
    "train",
]

_MODULES = {
    "Comparison": "kdbench.verdicts",
    "KdbenchError": "kdbench.errors",
    "Measurement": "kdbench.records",
    "ModelCard": "kdbench.cards",
    "Recipe": "kdbench.recipe",
    "RunRecord": "kdbench.records",
    "Verdict": "kdbench.verdicts",
    "bench": "kdbench.benching",
    "load_recipe": "kdbench.recipes",
    "run": "kdbench.pipeline",
    "train": "kdbench.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kdbench' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
