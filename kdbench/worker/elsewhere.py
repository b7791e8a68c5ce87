"""Calls that another process makes and times, because a message to it takes longer than many a call."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kdbench.machine import cores


@runtime_checkable
class TimedElsewhere(Protocol):
    """The `run` of a bound model that times its own calls.

    `together` is how many calls are timed at once, so that the steps of the clock there do not matter: each time is
    then the mean of so many.
    """

    together: int

    def __call__(self, *arguments: Any) -> object:
        """Call once, untimed."""

    def time(self, out: NDArray[np.int64], gap_ms: int = 0) -> None:
        """Time calls into `out`, in ns a call, with `gap_ms` of idle time before each; the caches are warm before."""

    def preemptions(self) -> int:
        """Return how often the system took a core from what makes the calls."""


def together(run: object) -> int:
    """Return how many calls of `run` are timed at once."""
    return run.together if isinstance(run, TimedElsewhere) else 1


def preemptions(run: object) -> int:
    """Return how often the system took a core from the process that makes the calls of `run`."""
    return run.preemptions() if isinstance(run, TimedElsewhere) else cores.preemptions()
