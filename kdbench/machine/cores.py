"""Which cores this process may use, and keeping it on some. Standard library only: measuring processes import it."""

import os
from collections.abc import Sequence


def available_cores() -> tuple[int, ...]:
    """Return the cores this process may use, counted from 0; where the system does not tell, all there are."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS or Windows
    return tuple(sorted(affinity(0))) if affinity else tuple(range(os.cpu_count() or 1))


def pin(cores: Sequence[int] | None) -> None:
    """Keep this thread, and those it starts from now on, on `cores`; None leaves them be."""
    if cores:
        os.sched_setaffinity(0, cores)
