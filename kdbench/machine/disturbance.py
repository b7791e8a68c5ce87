"""What the conditions under which sessions ran say against their numbers, and what to do about it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.machine.core_choice import of_turn
from kdbench.machine.cores import available_cores
from kdbench.machine.fingerprint import BUSY_CORES, quota_cores
from kdbench.machine.system_monitor import Conditions
from kdbench.machine.topology import siblings
from kdbench.results.records import Diagnostic

# Of the pinned cores' time, or of their siblings': what is lost there is as large as what is to be told apart.
_SHARED = 0.05
_STOLEN = 0.01  # moves a mean by as much
_SWAPPED_PAGES = 256  # 1 MB of 4 KiB pages: more than a process that starts would fetch by chance


def condition_warnings(conditions: Sequence[Conditions]) -> Iterator[Diagnostic]:
    """Yield what disturbed the sessions, each thing once."""
    yield from _slowed(conditions)
    yield from _load(conditions)
    yield from _stolen(conditions)
    yield from _siblings(conditions)
    yield from _swapping(conditions)


def condition_facts(conditions: Sequence[Conditions]) -> dict[str, Any]:
    """Return the averages over the sessions' time, as a record's `protocol` holds them; of what is unknown nothing."""
    names = ("others_cores", "others_chosen_cores", "siblings_cores", "stolen_share")
    found = {name: average for name in names if (average := _average(conditions, name)) is not None}
    return {"meanwhile": {name: round(value, 4) for name, value in found.items()}} if found else {}


def threads_warnings(threads: int, cores: Sequence[int] | None, root: Path = Path("/")) -> Iterator[Diagnostic]:
    """Yield what so many threads lack on this machine, in processes that take turns on `cores`.

    `root` stands before /proc and /sys, for tests.
    """
    yield from crowding(threads, len(available_cores()), quota_cores(root))
    yield from shared_cores(cores, threads, root)


def crowding(threads: int, usable: int, quota_cores: float | None) -> Iterator[Diagnostic]:
    """Yield that more threads were asked for than there are cores to run them, if so."""
    if threads > usable:
        cores = f"{usable} cores" if usable > 1 else "one core"
        yield Diagnostic(
            code="oversubscribed",
            message=f"{threads} threads share the {cores} that this process may use",
            remedy="measure with as many threads as cores at most: threads that wait for a core stall the others",
        )
    if quota_cores is not None and threads > quota_cores:
        yield Diagnostic(
            code="oversubscribed",
            message=f"the container may use {quota_cores:g} cores: {threads} threads are stopped again and again",
            remedy="raise the container's CPU limit, or measure with fewer threads",
        )


def shared_cores(cores: Sequence[int] | None, threads: int, root: Path = Path("/")) -> Iterator[Diagnostic]:
    """Yield that some of the `threads` cores a process is kept on are one physical core's hardware threads, if so."""
    for turn in range(len(cores or ())):
        pinned = sorted(set(of_turn(cores, threads, turn) or ()))  # more threads than cores have some twice
        for number, core in enumerate(pinned):
            together = (siblings(core, root) or frozenset()).intersection(pinned[number + 1 :])
            if together:
                yield Diagnostic(
                    code="shared_core",
                    message=f"cores {core} and {min(together)} are one physical core: its threads slow each other down",
                    remedy="name one core of each pair with --cores",
                )
                return


def _slowed(conditions: Sequence[Conditions]) -> Iterator[Diagnostic]:
    for remedy in dict.fromkeys(slowed.remedy for c in conditions for slowed in c.slowed):
        told = [[slowed.sign for slowed in c.slowed if slowed.remedy == remedy] for c in conditions]
        signs = [" and ".join(session) for session in told if session]
        yield Diagnostic(code="throttled", message=f"{_in(len(signs), conditions)} {signs[0]}", remedy=remedy)


def _load(conditions: Sequence[Conditions]) -> Iterator[Diagnostic]:
    busy = [c for c in conditions if c.others_cores is not None and c.others_cores >= BUSY_CORES]
    near = [c for c in conditions if c.others_chosen_cores is not None and c.others_chosen_cores >= _SHARED]
    if not busy and not near:
        return
    most = max(c.others_cores or 0.0 for c in conditions)
    where = f", {max(c.others_chosen_cores or 0.0 for c in near):.1f} of it on the cores of the models" if near else ""
    yield Diagnostic(
        code="load",
        message=(
            f"{_in(sum(c in busy or c in near for c in conditions), conditions)} other work kept up to {most:.1f} of "
            f"{max(c.cores or 0 for c in conditions)} cores busy{where}"
        ),
        remedy="measure when the machine is otherwise idle",
    )


def _stolen(conditions: Sequence[Conditions]) -> Iterator[Diagnostic]:
    share = _average(conditions, "stolen_share")
    if share is not None and share >= _STOLEN:
        yield Diagnostic(
            code="stolen_time",
            message=f"other guests were given {100 * share:.1f} % of the time in which cores would have run",
            remedy="measure on a machine of its own, or on an instance with dedicated cores",
        )


def _siblings(conditions: Sequence[Conditions]) -> Iterator[Diagnostic]:
    busy = [c.siblings_cores for c in conditions if c.siblings_cores is not None and c.siblings_cores >= _SHARED]
    if busy:
        yield Diagnostic(
            code="busy_siblings",
            message=(
                f"{_in(len(busy), conditions)} other work ran on the models' physical cores, beside them: "
                f"up to {max(busy):.2f} hardware threads"
            ),
            remedy="measure when the machine is otherwise idle, or switch SMT off (/sys/devices/system/cpu/smt)",
        )


def _swapping(conditions: Sequence[Conditions]) -> Iterator[Diagnostic]:
    pages = sum(c.swapped_in_pages or 0 for c in conditions)
    if pages >= _SWAPPED_PAGES:
        yield Diagnostic(
            code="swapping",
            message=f"{pages} pages of memory had to be fetched from disk meanwhile",
            remedy="end programs that hold memory, or measure smaller batches",
        )


def _in(count: int, conditions: Sequence[Conditions]) -> str:
    return f"in {count} of {len(conditions)} sessions" if len(conditions) > 1 else "in the only session"


def _average(conditions: Sequence[Conditions], name: str) -> float | None:
    """Return the average of one of the conditions' numbers over the time of the sessions that know it."""
    known = [(value, c.seconds) for c in conditions if (value := getattr(c, name)) is not None]
    if not known:
        return None
    values, seconds = zip(*known, strict=True)
    return float(np.average(values, weights=seconds))
