"""Calling a user's class or function with the arguments that its signature names."""

import inspect
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any

from kdbench.errors import InputError, KdbenchError
from kdbench.registry import suggestion

_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def called(
    function: Callable[..., Any], offered: Mapping[str, Any], options: Mapping[str, Any], subject: str, give: str = ""
) -> Any:
    """Return `function(…)` with those `offered` arguments that it names, and all `options`, which win.

    `subject` is how messages call the function; `give` is how to give it an argument that it needs, `{}` standing for
    the argument's name. Raises InputError for options that it does not have, for arguments that nobody gives, and for
    whatever it raises.
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
        return function(*positional, **values)
    except KdbenchError:
        raise
    except (Exception, SystemExit) as error:  # a stranger's code
        place = _place(error)
        hint = f"it was called with {', '.join(values) or 'no arguments'}; the error is at {place}"
        raise InputError(f"{subject} failed: {describe_failure(error)}", hint) from error


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function or class; none if it has no signature."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some callables have no signature
        return []


def describe_failure(error: BaseException) -> str:
    """Return an error of a stranger's code in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _place(error: BaseException) -> str:
    """Return file and line where the error was raised."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return "?" if traceback is None else f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
