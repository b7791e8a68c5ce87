"""Hashes of classes and functions that are in no file, such as a notebook's: of their source and of what they use."""

import ast
import contextlib
import hashlib
import inspect
import linecache
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from kdbench.plugins import search

_PLAIN = (int, float, str, bytes, bool, complex, type(None))
_COLLECTIONS = (list, tuple, set, frozenset, dict)


def described_objects(entry: Any) -> tuple[list[tuple[str, str]], set[Path]]:
    """Return names and SHA-256 hashes of `entry` and the objects it refers to, and the local files of referred modules.

    A class refers to its bases, a function to the global names in its code, and a list or table to the functions and
    classes in it. Classes, functions, plain values, arrays and networks are hashed; other objects are ignored.
    """
    hashes: list[tuple[str, str]] = []
    files: set[Path] = set()
    pending, seen = [("", entry)], set()
    while pending:
        name, value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if (file := _local_file(value)) is not None:
            files.add(file)
        elif isinstance(value, FunctionType | type) and _is_without_file(value):
            hashes.append((value.__qualname__, _sha256(_text(value).encode())))
            pending += _referred(value)
        elif isinstance(value, FunctionType | type | ModuleType):
            continue  # installed
        elif hasattr(value, "func") and callable(value):  # a partial function
            pending += [("", value.func), (f"{name}.args", value.args), (f"{name}.keywords", value.keywords)]
        elif inspect.ismethod(value):
            pending += [("", value.__func__), *_of_instance(name, value.__self__)]
        elif (content := _content(value)) is not None:
            hashes.append((name or type(value).__name__, _sha256(content)))
            pending += [("", item) for item in _callables(value)]
        elif callable(value):
            pending += _of_instance(name, value)
    return sorted(hashes), files


def _of_instance(name: str, value: Any) -> list[tuple[str, Any]]:
    """Return what the result of calling an object, or one of its methods, depends on: its class and its attributes."""
    if isinstance(value, type):
        return [("", value)]
    return [("", type(value)), (f"{name}.state", vars(value) if hasattr(value, "__dict__") else None)]


def _is_without_file(value: Any) -> bool:
    return value.__module__ == "__main__" or search.source_file(sys.modules.get(value.__module__)) is None


def _local_file(value: Any) -> Path | None:
    """Return the local file of a module, or of the module that defines a class or function."""
    module = value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
    file = search.source_file(module)
    if file is None or getattr(module, "__name__", "") == "__main__" or not search.is_local(file):
        return None
    return file if isinstance(value, FunctionType | type | ModuleType) else None


def _referred(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each object that a function or class refers to."""
    if not isinstance(value, type):
        yield from _of_function(value)
        return
    yield from (("", base) for base in value.__mro__[1:] if base is not object)
    for name, member in vars(value).items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        function = function.fget if isinstance(function, property) else function
        function = inspect.unwrap(function) if callable(function) else function
        if isinstance(function, FunctionType):
            yield from _of_function(function)
        elif isinstance(function, type) and name != "__class__":
            yield name, function


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for code in _codes(function.__code__):
        yield from ((name, function.__globals__[name]) for name in code.co_names if name in function.__globals__)
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        if not isinstance(default, _PLAIN):  # plain defaults are in the source
            yield f"{function.__qualname__}: default", default
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # an empty cell
            if name != "__class__":
                yield name, cell.cell_contents


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _text(value: Any) -> str:
    """Return the source of a class or function, or else a description of its code."""
    try:
        return textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError, IndentationError, SyntaxError):
        pass
    if isinstance(value, FunctionType):
        defaults = [item for item in (value.__defaults__ or ()) if isinstance(item, _PLAIN)]
        parts = (f"{code.co_code!r}{code.co_names}{_constants(code)}" for code in _codes(value.__code__))
        return "".join((repr(defaults), *parts))
    functions = [member for member in vars(value).values() if isinstance(member, FunctionType)]
    for function in functions:  # a class of a notebook: the code of its methods names the cell
        lines = "".join(linecache.getlines(function.__code__.co_filename))
        for node in ast.walk(ast.parse(lines)) if lines else ():
            line = function.__code__.co_firstlineno
            if isinstance(node, ast.ClassDef) and node.name == value.__name__ and node.lineno <= line:
                return textwrap.dedent(ast.get_source_segment(lines, node) or "")
    plain = {name: member for name, member in vars(value).items() if isinstance(member, _PLAIN) and name[:2] != "__"}
    return f"{sorted(plain.items())}{[_text(function) for function in functions]}"


def _constants(code: CodeType) -> list[str]:
    constants = (constant for constant in code.co_consts if not isinstance(constant, CodeType))
    return [repr(_content(constant) or constant) for constant in constants]


def _items(collection: Any) -> list[Any]:
    return [part for pair in collection.items() for part in pair] if isinstance(collection, dict) else [*collection]


def _callables(value: Any) -> Iterator[Any]:
    """Yield the functions, classes and other callables in a collection, and in collections in it."""
    if isinstance(value, _COLLECTIONS):
        for item in _items(value):
            yield from _callables(item)
    elif callable(value):
        yield value


def _content(value: Any) -> bytes | None:
    """Return the bytes of a plain value, a collection, an array or a network's weights; None of any other object.

    Of the callables in a collection, the bytes hold the names.
    """
    if isinstance(value, _PLAIN):
        return repr(value).encode()
    if isinstance(value, _COLLECTIONS):
        parts = [_content(item) or getattr(item, "__qualname__", "?").encode() for item in _items(value)]
        if isinstance(value, set | frozenset):  # whose order depends on the process
            parts.sort()
        return b"%b(%b)" % (type(value).__name__.encode(), b",".join(parts))
    if hasattr(value, "state_dict"):
        return _content(dict(value.state_dict()))
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "__array__"):
        import numpy as np

        array = np.asarray(value)
        return None if array.dtype.hasobject else f"{array.dtype}{array.shape}".encode() + array.tobytes()
    return None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
