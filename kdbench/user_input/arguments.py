"""Type checks of the arguments of public functions, before any work begins."""

import collections.abc
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from kdbench.characters import shortened
from kdbench.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

_MAX_VALUE = 60  # characters; a longer value is cut in messages
_WIDER: Mapping[Any, type] = {int: Integral, float: Real, Path: os.PathLike}  # so that numpy's numbers and other
# libraries' paths fit
_WORDS: Mapping[Any, str] = {
    str: "text",
    Path: "a path",
    int: "an integer",
    float: "a number",
    bool: "True or False",
    NoneType: "None",
    Any: "anything",
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that checks the types of its arguments against its annotations.

    It raises InputError for the first argument of a wrong type, with the types that are possible.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    annotations = {p.name: Any if p.annotation is p.empty else p.annotation for p in parameters}  # self, cls
    various = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), "")

    @functools.wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            values = dict(signature.bind(*args, **kwargs).arguments)
        except TypeError:
            return function(*args, **kwargs)  # Python's own error names the missing or unknown argument
        further = values.pop(various, {})
        check(values, annotations)
        check(further, dict.fromkeys(further, annotations.get(various, Any)))
        return function(*args, **kwargs)

    return checking


def check(values: Mapping[str, Any], annotations: Mapping[str, Any]) -> None:
    """Raise InputError for the first argument whose value is not of its annotation's type."""
    for name, value in values.items():
        annotation = annotations.get(name, Any)
        if not _fits(value, annotation):
            text = shortened(" ".join(repr(value).split()), _MAX_VALUE)
            kind = type(value).__name__
            raise InputError(f"{name} cannot be {text} ({kind})", f"{name} may be {_described(annotation)}")


def _fits(value: Any, annotation: Any) -> bool:
    """Return whether a value has the annotation's type; True for annotations that cannot be checked."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return True
    if origin in {Union, UnionType}:
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return isinstance(value, tuple({type(one) for one in inner}))  # the function itself checks the value
    kind = origin or annotation
    if kind is tuple or (inspect.isclass(kind) and issubclass(kind, Iterable) and kind not in {str, bytes}):
        return _fits_collection(value, kind, inner)
    return not inspect.isclass(kind) or isinstance(value, _WIDER.get(kind, kind))


def _fits_collection(value: Any, kind: type, inner: tuple[Any, ...]) -> bool:
    if issubclass(kind, Mapping):
        keys, values = inner or (Any, Any)
        return isinstance(value, Mapping) and all(_fits(k, keys) and _fits(v, values) for k, v in value.items())
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return False
    return not isinstance(value, list | tuple) or not inner or all(_fits(one, inner[0]) for one in value)


def _described(annotation: Any) -> str:
    """Return the possible values of an argument in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    kind = origin or annotation
    if origin in {Union, UnionType}:
        *first, last = dict.fromkeys(_described(one) for one in inner)
        text = f"{', '.join(first)} or {last}"
    elif origin is Literal:
        text = f"one of {', '.join(map(str, inner))}"
    elif kind is collections.abc.Callable:
        text = "a function"
    elif inspect.isclass(kind) and issubclass(kind, Mapping):
        text = "a dictionary" + (f" whose values are {_described(inner[1])}" if inner and inner[1] is not Any else "")
    else:
        plain = f"a list of {_plural(_described(inner[0]))}" if inner else f"a {getattr(kind, '__name__', kind)}"
        text = _WORDS.get(kind, plain)
    return text


def _plural(words: str) -> str:
    many = {"an integer": "integers", "a number": "numbers", "a path": "paths"}
    return " or ".join(many.get(one, one.removeprefix("a ")) for one in words.replace(", ", " or ").split(" or "))
