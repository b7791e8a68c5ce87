"""On which cores measuring processes take turns.

Processes that follow each other on one core are alike: the kernel hands the pages that one let go of to the next on
that core, and a model that does not fit a core's own cache is a tenth slower on some pages than on others, for tens of
seconds. Sessions that take turns on several cores are not. A core's state is then one of several in every run, and
not what the run is about.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from kdbench.environment import first_line
from kdbench.errors import InputError
from kdbench.measure.machine.cores import available_cores

_ROOT = Path("/")
_AS_STRONG = 0.9  # of the strongest core: some of one kind are allowed a little more than others


def chosen_cores(asked: Sequence[int] | None, threads: Sequence[int], root: Path = _ROOT) -> tuple[int, ...] | None:
    """Return the cores that measuring processes take turns on (`of_turn`); None where the system cannot pin.

    By default one hardware thread of each of the strongest physical cores, without the first, which serves most
    interrupts; fewer conditions where they leave less than the largest of `threads`. Raises InputError for cores that
    this process may not use and for fewer cores than threads. `root` stands before /sys, for tests.
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
    """Return the `threads` of `cores` that process number `turn` is kept on: the last ones, then those before them."""
    if cores is None:
        return None
    end = len(cores) - turn * threads
    return tuple(cores[(end - place) % len(cores)] for place in range(threads, 0, -1))


def siblings(core: int, root: Path = _ROOT) -> frozenset[int] | None:
    """Return the hardware threads of the physical core that `core` is on, itself among them; None if unknown."""
    told = first_line(root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    if told is None:
        return None
    ranges = [part.partition("-") for part in told.split(",")]
    return frozenset(n for first, _, last in ranges for n in range(int(first), int(last or first) + 1))


def _default(here: Sequence[int], least: int, root: Path) -> tuple[int, ...]:
    strong = _strong(here, root)
    apart = _apart(strong, root)
    for fewer in (apart[1:], apart, strong):
        if len(fewer) >= least:
            return fewer
    return tuple(here[-least:])


def _strong(cores: Sequence[int], root: Path) -> tuple[int, ...]:
    """Leave out the cores that are built for less work, where a processor has two kinds."""
    strengths = [_strength(core, root) for core in cores]
    most = max(strengths)
    return tuple(core for core, strength in zip(cores, strengths, strict=True) if strength >= _AS_STRONG * most)


def _strength(core: int, root: Path) -> int:
    """Return a core's capacity, its highest clock where that is not told, or 0; comparable within a machine."""
    folder = root / f"sys/devices/system/cpu/cpu{core}"
    told = first_line(folder / "cpu_capacity") or first_line(folder / "cpufreq/cpuinfo_max_freq")
    return int(told) if told and told.isdecimal() else 0


def _apart(cores: Iterable[int], root: Path) -> tuple[int, ...]:
    """Keep one hardware thread, the first, of each physical core."""
    kept: list[int] = []
    for core in cores:
        if not (siblings(core, root) or frozenset()).intersection(kept):
            kept.append(core)
    return tuple(kept)
