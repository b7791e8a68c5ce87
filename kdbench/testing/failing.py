"""How what a user can cause ends a test: with a message and a hint, and no traceback of ours."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import pytest

from kdbench.errors import KdbenchError

_P = ParamSpec("_P")
_T = TypeVar("_T")


def told(work: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a KdbenchError of `work` fail the test with its message and hint."""

    @wraps(work)
    def telling(*arguments: _P.args, **options: _P.kwargs) -> _T:
        __tracebackhide__ = True
        try:
            return work(*arguments, **options)
        except KdbenchError as error:
            said = f"{error.message}\nhint: {error.hint}" if error.hint else error.message
        pytest.fail(said, pytrace=False)  # out of the handler: what was handled is no part of the story

    return telling
