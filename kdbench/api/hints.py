"""Hints of errors for Python: arguments in place of the command line's options."""

from collections.abc import Iterator
from contextlib import contextmanager

from kdbench.errors import KdbenchError
from kdbench.user_input.options import as_arguments


@contextmanager
def python_hints(inputs: str = "") -> Iterator[None]:
    """Rewrite the hint of an error that leaves the block or function; `inputs` is as in `as_arguments`."""
    try:
        yield
    except KdbenchError as error:
        error.advise(as_arguments(error.hint, inputs))
        raise
