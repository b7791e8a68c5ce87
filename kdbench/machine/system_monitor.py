"""What else the machine did while a session ran: the work of others, of other guests, and what slowed it down.

The machine is looked at before and after a session, never in between: a watcher would itself be a load.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kdbench.machine.throttling import gauges
from kdbench.machine.topology import siblings

_BUSY_FIELDS = (0, 1, 2, 5, 6)  # of /proc/stat: user, nice, system, irq, softirq (guests are within user)
_STEAL_FIELD = 7


@dataclass(frozen=True)
class Slowed:
    """What a gauge of throttling told of one session, and what to do about it."""

    sign: str
    remedy: str


@dataclass(frozen=True)
class Conditions:
    """How one session of `seconds` went; None stands for what this machine does not tell.

    `cores` is how many there are; `others_cores` how many of them other processes kept busy on average, and
    `others_chosen_cores` how many of those that the session was pinned to; `siblings_cores` how many hardware
    threads beside these, on the same physical cores, were busy. `stolen_share` is the share of the time in which
    cores would have run that a hypervisor gave to other guests; `swapped_in_pages` how many pages of memory had to
    be fetched from disk; `slowed` what the gauges of throttling told.
    """

    seconds: float
    cores: int | None = None
    others_cores: float | None = None
    others_chosen_cores: float | None = None
    siblings_cores: float | None = None
    stolen_share: float | None = None
    swapped_in_pages: int | None = None
    slowed: tuple[Slowed, ...] = ()


@dataclass(frozen=True)
class Reading:
    """The machine's counters at one moment.

    `busy_s` and `stolen_s` are by core, since start-up; `own_s` is the CPU time of this process and of those it has
    waited for; `gauges` are in the order of `throttling.gauges`.
    """

    at_s: float
    own_s: float
    busy_s: Mapping[int, float]
    stolen_s: Mapping[int, float]
    swapped_in_pages: int | None
    gauges: tuple[float | None, ...]


class SystemMonitor:
    """Looks at the machine on entering and leaving a `with` block; then `conditions` tells how it went.

    `cores` are those that the session is pinned to, None if it is not. `root` stands before /proc and /sys.
    """

    def __init__(self, root: Path = Path("/"), *, cores: Sequence[int] | None = None, provider: str = "cpu") -> None:
        self._root = root
        self._chosen = frozenset(cores) if cores else None
        self._gauges = gauges(root, provider)
        self._before: Reading | None = None
        self._after: Reading | None = None

    def __enter__(self) -> Self:
        self._before = self.read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._after = self.read()

    def read(self) -> Reading:
        """Return what the machine's counters show now."""
        busy_s, stolen_s = _processors(self._root)
        at_s, own_s = time.monotonic(), sum(os.times()[:4])  # at the moment of busy_s: gauges may take their time
        readings = tuple(gauge.read() for gauge in self._gauges)
        return Reading(at_s, own_s, busy_s, stolen_s, _swapped_in(self._root), readings)

    @property
    def conditions(self) -> Conditions:
        """How it went between entering and leaving."""
        assert self._before is not None
        assert self._after is not None
        return self.between(self._before, self._after)

    def between(self, before: Reading, after: Reading) -> Conditions:
        """Return how it went between two readings."""
        seconds = after.at_s - before.at_s
        slowed = tuple(
            Slowed(sign, gauge.remedy)
            for gauge, b, a in zip(self._gauges, before.gauges, after.gauges, strict=True)
            if b is not None and a is not None and (sign := gauge.sign(b, a))
        )
        swapped = (
            None
            if before.swapped_in_pages is None or after.swapped_in_pages is None
            else after.swapped_in_pages - before.swapped_in_pages
        )
        busy = {core: after.busy_s[core] - s for core, s in before.busy_s.items() if core in after.busy_s}
        if not busy:
            return Conditions(seconds, swapped_in_pages=swapped, slowed=slowed)
        stolen_s = sum(after.stolen_s[core] - before.stolen_s[core] for core in busy)
        own_s = after.own_s - before.own_s
        chosen, beside = self._chosen, None if self._chosen is None else self._siblings(self._chosen)
        return Conditions(
            seconds,
            cores=len(busy),
            others_cores=max(sum(busy.values()) - own_s, 0.0) / seconds,
            others_chosen_cores=None if chosen is None else max(_of(busy, chosen) - own_s, 0.0) / seconds,
            siblings_cores=None if beside is None else _of(busy, beside) / seconds,
            stolen_share=stolen_s / max(sum(busy.values()) + stolen_s, 1e-9),
            swapped_in_pages=swapped,
            slowed=slowed,
        )

    def _siblings(self, cores: frozenset[int]) -> frozenset[int] | None:
        """Return the other hardware threads of the physical cores that `cores` are on; None if it cannot be told."""
        beside = [siblings(core, self._root) for core in cores]
        return None if None in beside else frozenset().union(*(s for s in beside if s)) - cores


def _of(busy: Mapping[int, float], cores: frozenset[int]) -> float:
    return sum(busy.get(core, 0.0) for core in cores)


def _processors(root: Path) -> tuple[dict[int, float], dict[int, float]]:
    """Return for how long each core was busy, and for how long it was stolen, since start-up, in s."""
    ticks_per_s = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    busy, stolen = {}, {}
    for name, ticks in _lines(root / "proc/stat"):
        number = name.removeprefix("cpu")
        if number != name and number.isdigit() and len(ticks) > _STEAL_FIELD:  # "cpu" alone is the sum of all
            core = int(number)
            busy[core] = sum(ticks[n] for n in _BUSY_FIELDS) / ticks_per_s
            stolen[core] = ticks[_STEAL_FIELD] / ticks_per_s
    return busy, stolen


def _swapped_in(root: Path) -> int | None:
    return next((numbers[0] for name, numbers in _lines(root / "proc/vmstat") if name == "pswpin"), None)


def _lines(path: Path) -> list[tuple[str, list[int]]]:
    """Return a file of names and whole numbers, a line each; nothing where there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    lines = [line.split() for line in text.splitlines()]
    return [(words[0], [int(word) for word in words[1:]]) for words in lines if words and _whole(words[1:])]


def _whole(words: list[str]) -> bool:
    return all(word.isdigit() for word in words)
