"""On which cores measuring processes take turns.

Processes that follow each other on one core are alike: a model that does not fit a core's own cache is a tenth slower
for tens of seconds and then is not, on each core by itself (docs/architecture.md has the figures). The likely reason is
memory: the kernel hands the pages that a process let go of to the next one on that core. In a run whose sessions take
turns on several cores, a core's state is one of several, and not what the run is about.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from kdbench.errors import InputError
from kdbench.machine.cores import available_cores
from kdbench.machine.topology import siblings, strength

_ROOT = Path("/")
_AS_STRONG = 0.9  # of the strongest core: some of one kind are allowed a little more than others


def chosen_cores(asked: Sequence[int] | None, threads: Sequence[int], root: Path = _ROOT) -> tuple[int, ...] | None:
    """Return the cores that measuring processes take turns on (`of_turn`); None where the system cannot pin.

    By default one hardware thread of each of the strongest physical cores, core 0 left out, which serves most
    interrupts; these conditions are dropped, the last first, where fewer cores than the largest of `threads` meet them.
    Raises InputError for cores that this process may not use and for fewer cores than threads. `root` stands before
    /sys, for tests.
    """
    here = available_cores()
    if asked is None:
        return _default(here, max(threads), root) if hasattr(os, "sched_setaffinity") else None
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("cores: this system cannot pin processes to any", "leave the option out")
    if beyond := sorted(set(asked) - set(here)):
        raise InputError(
            f"cores: {beyond[0]} is none that this process may use", f"those are {', '.join(map(str, here))}"
        )
    if len(asked) < max(threads):
        raise InputError(f"cores: {len(asked)} named for {max(threads)} threads", "name as many cores as threads")
    return tuple(asked)


def of_turn(cores: Sequence[int] | None, threads: int, turn: int) -> tuple[int, ...] | None:
    """Return the `threads` of `cores` that process number `turn` is kept on: the last ones, then one further down.

    A model of one thread runs on the last of them, so that it takes turns even where all cores are needed for others.
    """
    if cores is None:
        return None
    end = len(cores) - turn
    return tuple(cores[(end - place) % len(cores)] for place in range(threads, 0, -1))


def _default(here: Sequence[int], least: int, root: Path) -> tuple[int, ...]:
    strong = _strong(here, root)
    apart = _apart(strong, root)
    for fewer in (tuple(core for core in apart if core != 0), apart, strong):
        if len(fewer) >= least:
            return fewer
    return tuple(here[-least:])


def _strong(cores: Sequence[int], root: Path) -> tuple[int, ...]:
    """Leave out the cores that are built for less work, where a processor has two kinds."""
    strengths = [strength(core, root) for core in cores]
    most = max(strengths)
    return tuple(core for core, own in zip(cores, strengths, strict=True) if own >= _AS_STRONG * most)


def _apart(cores: Iterable[int], root: Path) -> tuple[int, ...]:
    """Keep one hardware thread, the first, of each physical core."""
    kept: list[int] = []
    for core in cores:
        if not (siblings(core, root) or frozenset()).intersection(kept):
            kept.append(core)
    return tuple(kept)
