"""Distillation methods by name. One file per method; each registers itself in `METHODS`.

A file may import `distill.method`, `distill.losses` and what `distill` may. `distill.objective` and the stages look
methods up by name.
"""

import inspect
from collections.abc import Iterator
from typing import Any

from kdbench import plugins
from kdbench.distill.function_method import method_of
from kdbench.distill.method import Method
from kdbench.errors import InputError
from kdbench.registry import Registry


class Methods(Registry[Any]):
    """Methods by name or import path; a function that is registered, or imported, is the method with that loss."""

    def get(self, name: str) -> type[Method]:
        """Return the method called `name`; raises InputError as a registry does, and for what is no method."""
        return _method(super().get(name), name)

    def __iter__(self) -> Iterator[tuple[str, type[Method]]]:
        for name, entry in super().__iter__():
            yield name, _method(entry, name)


def _method(entry: Any, name: str) -> type[Method]:
    if inspect.isfunction(entry):
        return method_of(entry, name)
    if not isinstance(entry, type) or not issubclass(entry, Method):
        message = f"{name!r} is not a distillation method but a {type(entry).__name__}"
        raise InputError(
            message, "name a function, or a subclass of kdbench.distill.method.Method: see docs/distillation.md"
        )
    return entry


METHODS = Methods("method", package="kdbench.distill.methods", group="kdbench.methods", imported=plugins.imported)
