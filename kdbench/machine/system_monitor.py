"""System monitor: the machine's other work during a session (other processes, other guests, throttling).

Counters are read before and after a session, never in between, because a running monitor would itself be a load.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kdbench.machine.cores import siblings
from kdbench.machine.system_files import ROOT, fields
from kdbench.machine.throttling import gauges

_BUSY_FIELDS = (0, 1, 2, 5, 6)  # of /proc/stat: user, nice, system, irq, softirq (guests are within user)
_STEAL_FIELD = 7


@dataclass(frozen=True)
class ThrottlingEvent:
    """A throttling gauge's message about one session, and the remedy."""

    message: str
    remedy: str


@dataclass(frozen=True)
class Conditions:
    """The conditions during one session; None for a condition that this machine does not report.

    seconds: duration of the session.
    cores: number of the machine's cores.
    others_cores: number of cores that other processes kept busy, on average.
    others_chosen_cores: the same for the cores that the session was pinned to.
    siblings_cores: number of sibling hardware threads of the pinned cores that were busy, on average.
    stolen_share: share of the cores' runnable time in which the hypervisor ran other guests instead.
    swapped_in_pages: pages of memory fetched from disk.
    throttling: the gauges' reports.
    """

    seconds: float
    cores: int | None = None
    others_cores: float | None = None
    others_chosen_cores: float | None = None
    siblings_cores: float | None = None
    stolen_share: float | None = None
    swapped_in_pages: int | None = None
    throttling: tuple[ThrottlingEvent, ...] = ()


@dataclass(frozen=True)
class Counters:
    """The machine's counters at one moment.

    `busy_s` and `stolen_s` are by core, since start-up; `process_s` is the CPU time of this process and the children it
    has waited for; `gauges` are in the order of `throttling.gauges`.
    """

    at_s: float
    process_s: float
    busy_s: Mapping[int, float]
    stolen_s: Mapping[int, float]
    swapped_in_pages: int | None
    gauges: tuple[float | None, ...]


class SystemMonitor:
    """Reads the machine's counters on entering and leaving a `with` block; afterwards `conditions` is set.

    `cores` are the cores that the session is pinned to, None if it is not pinned.
    """

    def __init__(self, root: Path = ROOT, *, cores: Sequence[int] | None = None, provider: str = "cpu") -> None:
        self._root = root
        self._cores = frozenset(cores) if cores else None
        self._gauges = gauges(root, provider)

    def __enter__(self) -> SystemMonitor:  # noqa: PYI034 - Self came with Python 3.11
        self._before = self.read()
        return self

    def __exit__(self, *_: object) -> None:
        self.conditions = self.between(self._before, self.read())

    def read(self) -> Counters:
        """Return the counters now."""
        busy_s, stolen_s = _processors(self._root)
        at_s, process_s = time.monotonic(), sum(os.times()[:4])  # right after busy_s: reading the gauges may take long
        readings = tuple(gauge.read() for gauge in self._gauges)
        pages = fields(self._root / "proc/vmstat").get("pswpin")
        return Counters(at_s, process_s, busy_s, stolen_s, None if pages is None else int(pages), readings)

    def between(self, before: Counters, after: Counters) -> Conditions:
        """Return the conditions between two readings of the counters."""
        seconds = after.at_s - before.at_s
        throttling = tuple(
            ThrottlingEvent(message, gauge.remedy)
            for gauge, b, a in zip(self._gauges, before.gauges, after.gauges)
            if b is not None and a is not None and (message := gauge.describe(b, a))
        )
        then, now = before.swapped_in_pages, after.swapped_in_pages
        swapped = None if then is None or now is None else now - then
        busy = {core: after.busy_s[core] - s for core, s in before.busy_s.items() if core in after.busy_s}
        conditions = Conditions(seconds, swapped_in_pages=swapped, throttling=throttling)
        if not busy:
            return conditions
        stolen_s = sum(after.stolen_s[core] - before.stolen_s[core] for core in busy)
        process_s = after.process_s - before.process_s
        cores, neighbours = self._cores, None if self._cores is None else self._siblings(self._cores)
        return replace(
            conditions,
            cores=len(busy),
            others_cores=max(sum(busy.values()) - process_s, 0.0) / seconds,
            others_chosen_cores=None if cores is None else max(_of(busy, cores) - process_s, 0.0) / seconds,
            siblings_cores=None if neighbours is None else _of(busy, neighbours) / seconds,
            stolen_share=stolen_s / max(sum(busy.values()) + stolen_s, 1e-9),
        )

    def _siblings(self, cores: frozenset[int]) -> frozenset[int] | None:
        """Return the other hardware threads of the physical cores of `cores`; None if unknown."""
        threads = [siblings(core, self._root) for core in cores]
        return None if None in threads else frozenset().union(*filter(None, threads)) - cores


def busy_seconds() -> dict[int, float]:
    """Return how long each core was busy since start-up, in s; empty if the system does not report it."""
    return _processors(ROOT)[0]


def _of(busy: Mapping[int, float], cores: frozenset[int]) -> float:
    return sum(busy.get(core, 0.0) for core in cores)


def _processors(root: Path) -> tuple[dict[int, float], dict[int, float]]:
    """Return for how long each core was busy, and for how long stolen by other guests, since start-up, in s."""
    ticks_per_s = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    busy, stolen = {}, {}
    for name, value in fields(root / "proc/stat").items():
        index = name.removeprefix("cpu")
        ticks = [int(word) for word in value.split()] if index != name and index.isdecimal() else []
        if len(ticks) > _STEAL_FIELD:  # "cpu" alone is the sum of all
            core = int(index)
            busy[core] = sum(ticks[n] for n in _BUSY_FIELDS) / ticks_per_s
            stolen[core] = ticks[_STEAL_FIELD] / ticks_per_s
    return busy, stolen
