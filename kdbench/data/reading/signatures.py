"""Loaders in user code: any function; kdbench passes the arguments that its signature declares.

For example:

    def load(request): ...                     # kdbench.data.Request -> Dataset, or arrays
    def load(root): ...                        # root, download, parts, by name
    def load(): return {"x_train": ..., "y_train": ..., "x_test": ..., "y_test": ...}
"""

from collections.abc import Callable
from typing import Any

from kdbench import plugins
from kdbench.data.dataset import Request
from kdbench.errors import InputError
from kdbench.plugins.calling import parameters_of
from kdbench.registry import is_shipped

_REQUEST_FIELDS = ("root", "download", "parts")


def loaded(loader: Callable[..., Any], request: Request) -> Any:
    """Return the result of a loader; raises InputError for any error in user code."""
    if is_shipped(loader):
        return loader(request)
    subject = f"data set {request.name!r}"
    if not callable(loader):
        raise InputError(f"{subject} is of type {type(loader).__name__}, not a function", "name a function")
    offered: dict[str, Any] = {name: getattr(request, name) for name in _REQUEST_FIELDS}
    needed = [p.name for p in parameters_of(loader) if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    first = needed[0] if len(needed) == 1 and needed[0] not in offered else "request"
    hint = f"kdbench passes request, or {', '.join(_REQUEST_FIELDS)} by name; give {{}} a default"
    return plugins.called(loader, {first: request, **offered}, {}, subject, hint=hint)
