"""Distillation methods by name. One file per method; each registers itself in `METHODS`.

A file may import `distill.method`, `distill.losses` and what `distill` may. `distill.objective` and the stages look
methods up by name.
"""

import inspect

from kdbench import plugins
from kdbench.distill.function_method import method_of
from kdbench.distill.method import Method
from kdbench.errors import InputError
from kdbench.registry import Registry


def _imported(path: str) -> type[Method]:
    """Return the method at an import path, such as `mylosses:MyMethod`; raises InputError for what is none."""
    method = plugins.imported(path)
    if inspect.isfunction(method):
        return method_of(method, path)
    if not isinstance(method, type) or not issubclass(method, Method):
        message = f"{path!r} is not a distillation method but a {type(method).__name__}"
        raise InputError(
            message, "name a function, or a subclass of kdbench.distill.method.Method: see docs/distillation.md"
        )
    return method


METHODS: Registry[type[Method]] = Registry(
    "method", package="kdbench.distill.methods", group="kdbench.methods", imported=_imported
)
