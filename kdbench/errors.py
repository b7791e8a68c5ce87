"""Errors that users can fix: a message, a hint and an exit code."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

# 0 means done. 1 (a gate failed) and 2 (inconclusive) are results, not errors.
EXIT_BAD_INPUT = 3
EXIT_INTERNAL = 4
EXIT_SIGNAL = 128  # and the signal's number, what shells expect
EXIT_INTERRUPTED = 130  # SIGINT


_NO_MEMORY = (
    *(os.strerror(errno.ENOMEM), "can't start new thread", "can't allocate memory", "not enough memory", "bad_alloc"),
    *("failed to map segment", "out of memory"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the system refused memory, or a thread; libraries say that in their own words."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


class KdbenchError(Exception):
    """An error that a user can cause and fix.

    `message` says what is wrong in one sentence, `hint` what to do about it. A traceback shows both.

        >>> try:
        ...     kdbench.Results.read("runs/digts")
        ... except kdbench.KdbenchError as error:
        ...     print(error.message, error.hint, sep="; ")
        no record at runs/digts; name a run's folder or its record.json; did you mean 'runs/digits'?
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advise(hint)

    def advise(self, hint: str) -> None:
        """Replace the hint."""
        self.hint = hint
        self.__notes__ = [f"hint: {hint}"] if hint else []  # what a traceback shows below the message


class InputError(KdbenchError):
    """A recipe, option, file or data set that cannot be used."""


@contextmanager
def about(subject: str) -> Iterator[None]:
    """Begin the message of an InputError with what it is about: one of several models, methods or files.

    >>> with about("student 'kd'"):
    ...     raise InputError("temperature is 0", "give a number above 0")
    Traceback (most recent call last):
    kdbench.errors.InputError: student 'kd': temperature is 0
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{subject}: {error.message}", error.hint) from error


class DataMissingError(InputError):
    """A data set that does not exist at the expected place."""


class StorageError(KdbenchError):
    """A folder or file that cannot be written: permissions, a full disk."""


class DivergedError(KdbenchError):
    """A training or a model produced numbers that are not finite."""


class MeasurementError(KdbenchError):
    """A measuring process died or could not run the model."""
