"""Calling user code, a class or function, with the arguments that its signature declares."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import Any

from kdbench.errors import InputError, KdbenchError, first_line, is_out_of_memory
from kdbench.plugins.search import is_local, is_shipped_file
from kdbench.registry import suggestion

_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def called(
    function: Callable[..., Any], offered: Mapping[str, Any], options: Mapping[str, Any], subject: str, give: str = ""
) -> Any:
    """Return `function(…)` with the `offered` arguments that its signature declares, and all `options`, which win.

    `subject` names the function in messages; `give` is the hint for a missing argument, with `{}` in place of its name.
    Raises InputError for options that it does not have, for arguments without a value, and for whatever it raises.
    """
    parameters = parameters_of(function)
    named = [p.name for p in parameters if p.kind not in _VARIADIC]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for option in options:
            if option not in named:
                listed = f"its options: {', '.join(named)}" if named else "it has no options"
                raise InputError(f"{subject}: unknown option {option!r}", suggestion(option, named, listed))
    values = {**{name: value for name, value in offered.items() if name in named}, **options}
    missing = [p.name for p in parameters if p.kind not in _VARIADIC and p.default is p.empty and p.name not in values]
    if missing:
        known = f"kdbench knows: {', '.join(offered)}" if offered else ""
        hint = "; ".join(filter(None, (give.replace("{}", missing[0]), known)))
        raise InputError(f"{subject} needs arguments: {', '.join(missing)}", hint)
    positional = [
        values.pop(p.name) for p in takewhile(lambda p: p.kind is p.POSITIONAL_ONLY and p.name in values, parameters)
    ]
    try:
        return _with_keywords(function, positional, values, values.keys() - options.keys())
    except KdbenchError:
        raise
    except (Exception, SystemExit) as error:  # user code
        hint = f"it was called with {', '.join(values) or 'no arguments'}; {place(error)}"
        raise InputError(f"{subject} failed: {describe_failure(error)}", hint) from error


def _with_keywords(function: Callable[..., Any], positional: list[Any], values: dict[str, Any], free: set[str]) -> Any:
    """Return `function(…)`; without those of the `free` keywords to which a class gives a value of its own."""
    while True:
        try:
            return function(*positional, **values)
        except TypeError as error:
            _, twice, argument = str(error).rpartition("multiple values for ")
            name = argument.removeprefix("keyword ").removeprefix("argument ").strip("'")
            if not twice or name not in free & values.keys():
                raise
            del values[name]


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function or class; none if it has no signature.

    A class whose `__init__` takes `**keywords` has those of the next class that it passes them to as well.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some callables have no signature
        return []
    return _with_inherited(function, parameters) if inspect.isclass(function) else parameters


def _with_inherited(kind: type, parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Return the parameters of a class, `**keywords` replaced by the parameters that they stand for in base classes."""
    initializers = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)]
    for initializer in initializers[1:]:
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
        try:
            inherited = list(inspect.signature(initializer).parameters.values())[1:]
        except (TypeError, ValueError):
            break
        names = {p.name for p in parameters}
        declared = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
        # None of them is required: the class may give it a value of its own.
        more = [
            p.replace(kind=p.KEYWORD_ONLY, default=None if p.default is p.empty else p.default)
            for p in inherited
            if p.kind not in _VARIADIC and p.name not in names
        ]
        parameters = declared + more + [p for p in inherited if p.kind is p.VAR_KEYWORD]
    return parameters


def describe_failure(error: BaseException) -> str:
    """Return an error of user code in one line."""
    kind, reason = type(error).__name__, first_line(error)
    return kind if reason == kind else f"{kind}: {reason}"


def place(error: BaseException) -> str:
    """Return where in the user code the error was raised."""
    places = list(_places(error))
    return f"see {places[-1]}" if places else "call it in Python to see where"


def is_users(error: Exception) -> bool:
    """Return whether user code raised the error, or what it called: not kdbench, a full disk or too little memory."""
    known = isinstance(error, KdbenchError | OSError) or is_out_of_memory(error)
    return not known and any(True for _ in _places(error))


def _places(error: BaseException) -> Iterator[str]:
    """Yield the lines of user code on the way to the error, the outermost first."""
    traceback = error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if is_local(file) and not is_shipped_file(file):
            yield f"{file}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
