"""How what a user can cause ends a test: with a message and a hint, and no traceback of ours."""

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import pytest

from kdbench.errors import KdbenchError
from kdbench.testing.passes import KEYWORDS
from kdbench.testing.settings import OPTIONS

_P = ParamSpec("_P")
_T = TypeVar("_T")
_ON_THE_COMMAND_LINE = re.compile(r"--([a-z]+(?:-[a-z]+)*)(?: (full|quick|cpu|cuda|torch)\b)?")
_SWITCHES = {"download", "estimate_energy", "profile", "remeasure"}
_OF_PYTEST = {option.name for option in OPTIONS}
_OF_CALLS = {*KEYWORDS, "data", "teacher", "metrics", "thresholds", "remeasure"}
_MANY = {"metric": "metrics", "threshold": "thresholds"}


def told(work: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a KdbenchError of `work` fail the test with its message and hint."""

    @wraps(work)
    def telling(*arguments: _P.args, **options: _P.kwargs) -> _T:
        __tracebackhide__ = True
        try:
            return work(*arguments, **options)
        except KdbenchError as error:
            said = f"{error.message}\nhint: {in_tests(error.hint)}" if error.hint else error.message
        pytest.fail(said, pytrace=False)  # out of the handler: what was handled is no part of the story

    return telling


def in_tests(remedy: str) -> str:
    """Return a remedy with the command line's options as a test has them: of pytest, or as keywords of the calls.

    `--budget` is `--kdbench-budget`, `--energy full` is `energy="full"`.
    """
    return _ON_THE_COMMAND_LINE.sub(_respelt, remedy)


def _respelt(option: re.Match[str]) -> str:
    name, word = option[1].replace("-", "_"), option[2]
    if name in _OF_PYTEST:
        return f"--kdbench-{option[0].removeprefix('--')}"
    keyword = _MANY.get(name, name)
    if keyword not in _OF_CALLS:
        return option[0]
    return f'{keyword}="{word}"' if word else f"{keyword}={'True' if keyword in _SWITCHES else ''}"
