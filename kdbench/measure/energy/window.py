"""Energy between two edges of a counter that moves in steps.

A counter is stale by up to its update period. A window that begins and ends where the counter was seen to move, and
counts the calls in between, is off by one period's worth of calls in all instead of by two unknown parts of one.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from kdbench.measure.energy.source import Clock, Counter

_PERIOD_EDGES = 10
_LEAST_UPDATES = 20  # an edge is seen up to one period late: 20 periods keep that below 5 %
_LEAST_NS = 1_000_000_000
_PATIENCE_NS = 10_000_000_000


@dataclass(frozen=True)
class Window:
    """Energy used and calls made between two edges of the counter."""

    energy_j: float
    duration_ns: int
    calls: int


class StalledError(RuntimeError):
    """A counter that stopped moving."""


def update_period_ns(counter: Counter) -> float:
    """Return the median time between two movements of the counter, found by reading it without rest."""
    edges = [_edge(counter, _nothing)[0] for _ in range(_PERIOD_EDGES + 1)]
    return statistics.median(after - before for before, after in pairwise(edges))


def window_ns(period_ns: float) -> int:
    """Return how long a window has to be for a counter of this update period."""
    return max(_LEAST_NS, round(_LEAST_UPDATES * period_ns))


def window(counter: Counter, call: Callable[[], object], length_ns: int, clock: Clock) -> Window:
    """Make calls for `length_ns` and on to the counter's next edge; return what they used.

    While the length runs the counter is left alone: reading it costs time and energy itself. `clock` must be the one
    the counter tells its time by. Raises StalledError if the counter stops.
    """
    begin_ns, begin_j, _ = _edge(counter, call)
    calls = 0
    while clock() - begin_ns < length_ns:
        call()
        calls += 1
    end_ns, end_j, more = _edge(counter, call)
    return Window(end_j - begin_j, end_ns - begin_ns, calls + more)


def _edge(counter: Counter, call: Callable[[], object]) -> tuple[int, float, int]:
    """Call until the counter moves; return the time and the joules then, and the number of calls made."""
    start_ns, before = counter.read()
    calls = 0
    while True:
        call()
        calls += 1
        now_ns, now = counter.read()
        if now != before:
            return now_ns, now, calls
        if now_ns - start_ns > _PATIENCE_NS:
            raise StalledError(f"the {counter.name} counter has not moved for {_PATIENCE_NS // 10**9} s")


def _nothing() -> None:
    """Use no time, so that the counter is read without rest."""
