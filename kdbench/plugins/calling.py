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
    function: Callable[..., Any], offered: Mapping[str, Any], options: Mapping[str, Any], subject: str, hint: str = ""
) -> Any:
    """Return `function(…)`, called with the `offered` arguments that its signature declares and with all `options`.

    An option overrides an offered argument. `subject` names the function in messages; `hint` is the hint for a missing
    argument, with `{}` in place of its name. Raises InputError for options that the function does not have, for
    arguments without a value, and for every error that the function raises.
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
        known = f"kdbench passes: {', '.join(offered)}" if offered else ""
        remedy = "; ".join(filter(None, (hint.replace("{}", missing[0]), known)))
        raise InputError(f"{subject} needs arguments: {', '.join(missing)}", remedy)
    positional = [
        values.pop(p.name) for p in takewhile(lambda p: p.kind is p.POSITIONAL_ONLY and p.name in values, parameters)
    ]
    try:
        return _with_keywords(function, positional, values, values.keys() - options.keys())
    except KdbenchError:
        raise
    except (Exception, SystemExit) as error:  # user code
        remedy = f"it was called with {', '.join(values) or 'no arguments'}; {location(error)}"
        raise InputError(f"{subject} failed: {describe_failure(error)}", remedy) from error


def _with_keywords(function: Callable[..., Any], positional: list[Any], values: dict[str, Any], free: set[str]) -> Any:
    """Return `function(…)`; drop each of the `free` keywords that a class already passes to its base class itself."""
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

    If `__init__` of a class takes `**keywords`, the parameters of the next class in its MRO are included.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some callables have no signature
        return []
    return _with_inherited(function, parameters) if inspect.isclass(function) else parameters


def _with_inherited(kind: type, parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Return the parameters of a class, with `**keywords` replaced by the parameters of the base classes."""
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
        # None of them is required: the class may pass its own value to the base class.
        more = [
            p.replace(kind=p.KEYWORD_ONLY, default=None if p.default is p.empty else p.default)
            for p in inherited
            if p.kind not in _VARIADIC and p.name not in names
        ]
        parameters = declared + more + [p for p in inherited if p.kind is p.VAR_KEYWORD]
    return parameters


def describe_failure(error: BaseException) -> str:
    """Return the type and the first line of an error of user code, such as `KeyError: 'width'`."""
    kind, reason = type(error).__name__, first_line(error)
    return kind if reason == kind else f"{kind}: {reason}"


def location(error: BaseException) -> str:
    """Return a hint with the line of user code that raised the error."""
    lines = list(_user_lines(error))
    return f"see {lines[-1]}" if lines else "call it in Python to see where"


def raised_by_user_code(error: Exception) -> bool:
    """Return whether user code, or a function that it called, raised the error.

    Errors of kdbench, of the operating system and of too little memory do not count.
    """
    known = isinstance(error, KdbenchError | OSError) or is_out_of_memory(error)
    return not known and any(True for _ in _user_lines(error))


def _user_lines(error: BaseException) -> Iterator[str]:
    """Yield the lines of user code in the error's traceback, the outermost first, as `file:line`."""
    traceback = error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if is_local(file) and not is_shipped_file(file):
            yield f"{file}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
