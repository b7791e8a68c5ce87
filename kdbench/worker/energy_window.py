"""Energy between two edges of a counter that moves in steps.

A reading is up to one update period old. A window begins and ends at an observed step of the counter, and counts the
calls in between. So its error is at most the calls of one period in total, instead of two unknown parts of a period.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kdbench.meters.meter import Clock, Meter, MeterError, MeterFailedError

_PERIOD_EDGES = 10
_MIN_EDGES = 3
_CALIBRATION_NS = 2_000_000_000
_PATIENCE_NS = 10_000_000_000
# As shares of a period. A reading may cost as much as many calls: too many disturb the calls, too few delay the edge.
_EARLY, _POLLING = 0.25, 0.05


class Span(NamedTuple):
    """The energy and the time between two readings of one counter."""

    energy_j: float
    duration_ns: int


@dataclass(frozen=True)
class Window:
    """The calls between two edges of the leading counter, and the span of each counter, the leading one first."""

    calls: int
    spans: tuple[Span, ...]


class _Edge(NamedTuple):
    at_ns: int
    joules: float
    calls: int


def update_period_ns(counter: Meter, clock: Clock = time.monotonic_ns) -> float:
    """Return the median time between two steps of the counter, measured by reading it continuously.

    This takes at most two seconds if three steps fit in. The shortest period of a counter that is not stepped is its
    lag, `lag_s`. Raises MeterFailedError.
    """
    begun_ns = clock()
    edges: list[int] = []
    while len(edges) <= _PERIOD_EDGES and (len(edges) <= _MIN_EDGES or clock() - begun_ns < _CALIBRATION_NS):
        edges.append(_edge(counter, lambda: None, clock).at_ns)
    period_ns = statistics.median(after - before for before, after in zip(edges, edges[1:]))
    return max(period_ns, counter.lag_s * 1e9)


def window(
    counters: Sequence[Meter],
    call: Callable[[], object],
    length_ns: float,
    settle_ns: float,
    clock: Clock,
    *,
    period_ns: float,
) -> Window:
    """Make calls unmetered for `settle_ns`, then for `length_ns` or a little longer, from one edge to another.

    Both edges are those of the first counter, whose period is `period_ns`. The calls before the window last until the
    slowest counter reflects the change of power. Within the window no counter is read, because that would take time and
    energy. `clock` must be the counters' clock. Raises MeterFailedError if a counter stops, fails or decreases.
    """
    for counter in counters:
        _read(counter)  # starts the sampling thread of a polled meter
    settled_ns = clock() + settle_ns + max(counter.lag_s for counter in counters) * 1e9
    while clock() < settled_ns:
        call()
    leading, *beside = counters
    begin = _edge(leading, call, clock, every_ns=period_ns * _POLLING)
    others_begin = [_read(counter) for counter in beside]
    # The counter is read again only shortly before the edge that ends the window is due.
    unread_ns = (math.ceil(length_ns / period_ns) - _EARLY) * period_ns
    calls = 0
    while clock() - begin.at_ns < unread_ns:
        call()
        calls += 1
    end = _edge(leading, call, clock, every_ns=period_ns * _POLLING)
    others_end = [_read(counter) for counter in beside]
    others = (_span(counter, *readings) for counter, *readings in zip(beside, others_begin, others_end))
    return Window(calls + end.calls, (_span(leading, begin[:2], end[:2]), *others))


def _read(counter: Meter) -> tuple[int, float]:
    try:
        return counter.read()
    except MeterError as error:
        raise MeterFailedError(counter.name, str(error)) from error


def _span(counter: Meter, begin: tuple[int, float], end: tuple[int, float]) -> Span:
    """Return the difference of two readings; raises MeterFailedError if it is impossible.

    Every part of a running machine uses energy. Only an estimate may be 0, because it covers only CPU time.
    """
    if end[1] < begin[1]:
        raise MeterFailedError(counter.name, f"{counter.name} went back")
    if end[0] <= begin[0] or (end[1] == begin[1] and counter.evidence == "measured"):
        raise MeterFailedError(counter.name, f"{counter.name} stands still")
    return Span(end[1] - begin[1], end[0] - begin[0])


def _edge(counter: Meter, call: Callable[[], object], clock: Clock, every_ns: float = 0.0) -> _Edge:
    """Call until the counter steps; return the time and the joules at the step, and the number of calls.

    The counter is read after a call, at the earliest `every_ns` after the last reading.
    """
    start = _read(counter)
    begun_ns = polled_ns = clock()  # after the first reading, which may have to start the meter
    moves = 1 if counter.stepped else 0  # the index of the value that shows a step: joules, or else the reading's time
    calls = 0
    while True:
        call()
        calls += 1
        if clock() - polled_ns < min(every_ns, _PATIENCE_NS):
            continue
        now = _read(counter)
        if now[moves] != start[moves]:
            return _Edge(*now, calls)
        polled_ns = clock()
        if polled_ns - begun_ns > _PATIENCE_NS:
            raise MeterFailedError(counter.name, f"{counter.name} stands still")
