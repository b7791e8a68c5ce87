"""CPU cores: those that this process may use, and those that measuring processes are pinned to. Standard library only.

Successive measuring processes run on different cores, because on one core they give similar times. A model that does
not fit a core's own cache can be a tenth slower for tens of seconds, on each core independently (docs/architecture.md
has the figures). The likely reason is memory: the kernel gives the pages that one process frees to the next process on
that core. With several cores, the state of each core is one sample of many.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kdbench.errors import InputError
from kdbench.machine.system_files import ROOT, first_line, number

_POLL_S = 0.06  # six ticks
_FREE_SHARE = 0.7  # of the idle time of the most idle core
_STRONG_SHARE = 0.9  # of the strongest core: cores of one kind may differ a little


def available_cores() -> tuple[int, ...]:
    """Return the cores that this process may use, counted from 0; all cores if the system has no affinity."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS or Windows
    return tuple(sorted(affinity(0))) if affinity else tuple(range(os.cpu_count() or 1))


def pin(cores: Sequence[int] | None) -> None:
    """Pin this thread, and those it starts from now on, to `cores`; with None do nothing."""
    if cores:
        os.sched_setaffinity(0, cores)


def choose_cores(requested: Sequence[int] | None, threads: Sequence[int], root: Path = ROOT) -> tuple[int, ...] | None:
    """Return the cores that measuring processes take turns on (`rotate_cores`); None if the system cannot pin.

    The default is one hardware thread of each of the strongest physical cores, without core 0, which serves most
    interrupts. If that leaves a single core, or fewer than the largest of `threads`, core 0, then shared cores, then
    weak cores are used as well. Raises InputError for cores that this process may not use, and for fewer cores than
    threads.
    """
    usable = available_cores()
    if requested is None:
        return _default_cores(usable, max(threads), root) if hasattr(os, "sched_setaffinity") else None
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("cores: this system cannot pin processes to cores", "leave the option out")
    if unusable := sorted(set(requested) - set(usable)):
        message = f"cores: this process may not use core {unusable[0]}"
        raise InputError(message, f"it may use {', '.join(map(str, usable))}")
    if len(requested) < max(threads):
        raise InputError(
            f"cores: {len(requested)} named for {max(threads)} threads", "name at least as many cores as threads"
        )
    return tuple(requested)


def rotate_cores(cores: Sequence[int] | None, threads: int, turn: int) -> tuple[int, ...] | None:
    """Return the `threads` cores that process number `turn` is pinned to: the last of `cores`, shifted by `turn`.

    A single-threaded model runs on the last core of the result, so it changes cores even if other models need all.
    """
    if cores is None:
        return None
    end = len(cores) - turn
    return tuple(cores[(end - offset) % len(cores)] for offset in range(threads, 0, -1))


def quiet_cores(
    cores: Sequence[int] | None, threads: int, root: Path = ROOT, sleep: Callable[[float], None] = time.sleep
) -> tuple[int, ...] | None:
    """Return those of `cores` that are idle at the moment, in the same order, but at least `threads` of them.

    Observes the machine for _POLL_S. A process pinned to a busy core would share it even while other cores are idle.
    """
    if cores is None or len(cores) <= threads:
        return None if cores is None else tuple(cores)
    before = idle_ticks(root)
    sleep(_POLL_S)
    after = idle_ticks(root)
    idle = {core: after[core] - before[core] for core in cores if core in before and core in after}
    if len(idle) < len(cores):
        return tuple(cores)
    most = max(idle.values())
    free = [core for core in cores if idle[core] >= _FREE_SHARE * most]
    if len(free) < threads:
        free = sorted(cores, key=lambda core: -idle[core])[:threads]
    return tuple(core for core in cores if core in free)


def idle_ticks(root: Path = ROOT) -> dict[int, int]:
    """Return the number of clock ticks (mostly 10 ms) for which each core was idle since start-up; empty if unknown."""
    try:
        lines = (root / "proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    counts = (line.split() for line in lines if re.match(r"cpu\d", line))
    return {int(name[3:]): int(numbers[3]) + int(numbers[4]) for name, *numbers in counts}


def siblings(core: int, root: Path = ROOT) -> frozenset[int] | None:
    """Return all hardware threads of the physical core of `core`; None if unknown."""
    listed = first_line(root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    if listed is None:
        return None
    ranges = [part.partition("-") for part in listed.split(",")]
    return frozenset(n for first, _, last in ranges for n in range(int(first), int(last or first) + 1))


def strength(core: int, root: Path = ROOT) -> int:
    """Return a core's capacity, else its highest clock, else 0; comparable within a machine."""
    folder = root / f"sys/devices/system/cpu/cpu{core}"
    return number(folder / "cpu_capacity") or number(folder / "cpufreq/cpuinfo_max_freq") or 0


def _default_cores(usable: Sequence[int], minimum: int, root: Path) -> tuple[int, ...]:
    strengths = {core: strength(core, root) for core in usable}  # efficiency cores are weaker
    strong = tuple(core for core in usable if strengths[core] >= _STRONG_SHARE * max(strengths.values()))
    separate: tuple[int, ...] = ()  # the first hardware thread of each physical core
    for core in strong:
        if not (siblings(core, root) or frozenset()).intersection(separate):
            separate += (core,)
    others = tuple(core for core in separate if core != 0)
    for cores, least in ((others, max(minimum, 2)), (separate, minimum), (strong, minimum)):
        if len(cores) >= least:
            return cores
    return tuple(usable[-minimum:])
