"""On which cores a measuring process runs. Standard library only: measuring processes import it too."""

import os
from collections.abc import Sequence

from kdbench.errors import InputError


def available_cores() -> tuple[int, ...]:
    """Return the cores this process may use, counted from 0; where the system does not tell, all there are."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS or Windows
    return tuple(sorted(affinity(0))) if affinity else tuple(range(os.cpu_count() or 1))


def chosen_cores(asked: Sequence[int] | None, threads: Sequence[int]) -> tuple[int, ...] | None:
    """Return the cores that measuring processes are pinned to; None where the system cannot pin.

    By default the last ones, as many as the largest of `threads`: the first cores serve most interrupts. Raises
    InputError for cores that this process may not use and for fewer cores than threads where they were asked for.
    """
    here = available_cores()
    if asked is None:
        return here[-max(threads) :] if hasattr(os, "sched_setaffinity") else None
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("cores: this system cannot pin processes to any", "leave the option out")
    if beyond := sorted(set(asked) - set(here)):
        raise InputError(
            f"cores: {beyond[0]} is none that this process may use", f"those are {', '.join(map(str, here))}"
        )
    if len(asked) < max(threads):
        raise InputError(f"cores: {len(asked)} named for {max(threads)} threads", "name as many cores as threads")
    return tuple(asked)


def pin(cores: Sequence[int] | None) -> None:
    """Keep this thread, and those it starts from now on, on `cores`; None leaves them be."""
    if cores:
        os.sched_setaffinity(0, cores)
