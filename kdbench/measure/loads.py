"""How timed calls follow each other: back to back, with idle time before each, or as arrivals that wait their turn.

A load says how many calls make a block and times them. numpy only: it runs in the measuring process.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Clock = Callable[[], int]

BLOCK_NS = 10_000_000  # a block of calls back to back is as many as take about this long, and one at least
LEAST_ROUNDS = 2  # eight sessions of a slow model give 16 calls; LoadGen's rule wants 11 for a median
_PACED_CALLS = 5  # in a block: with 5 ms between them models take turns every 25 ms
_ARRIVALS_NS = 100_000_000  # a block of arrivals lasts about this long …
_LEAST_ARRIVALS = 20  # … and holds so many at least
_LEAD = 0.25  # of a block's arrivals come before it, unrecorded: the queue is empty only at the very beginning
_SPIN_NS = 1_000_000  # the last of a wait is spent awake: waking up late is the system's latency, not the model's


@dataclass(frozen=True)
class Calls:
    """What is timed: `run(*arguments[i])`, the arguments taken in turn."""

    run: Callable[..., object]
    arguments: Sequence[tuple[Any, ...]]


class Load(Protocol):
    """A way in which calls follow each other.

    `primed`: a call off the clock opens each block of it. `least_rounds` are taken in a session, however short.
    """

    primed: ClassVar[bool]
    least_rounds: ClassVar[int]

    def calls(self, call_ns: float) -> int:
        """Return how many calls make a block when one takes `call_ns`."""

    def time(self, calls: Calls, out: NDArray[np.int64], rng: np.random.Generator, clock: Clock) -> None:
        """Time `len(out)` calls into `out`, in ns."""


def time_calls(calls: Calls, out: NDArray[np.int64], clock: Clock = time.perf_counter_ns) -> None:
    """Time `len(out)` calls back to back into `out`, in ns. Everything but the call is done off the clock."""
    run, arguments = calls.run, calls.arguments
    different = len(arguments)
    for i in range(len(out)):
        given = arguments[i % different]
        begin = clock()
        run(*given)
        out[i] = clock() - begin


@dataclass(frozen=True)
class Stream:
    """Calls back to back."""

    primed: ClassVar[bool] = True
    least_rounds: ClassVar[int] = LEAST_ROUNDS

    def calls(self, call_ns: float) -> int:
        """Return as many as take BLOCK_NS."""
        return max(math.ceil(BLOCK_NS / max(call_ns, 1)), 1)

    def time(self, calls: Calls, out: NDArray[np.int64], rng: np.random.Generator, clock: Clock) -> None:  # noqa: ARG002 - nothing here is random
        """Time them."""
        time_calls(calls, out, clock)


@dataclass(frozen=True)
class Paced:
    """Calls with `gap_ns` of idle time before each: caches and clocks of a device that mostly waits."""

    gap_ns: int
    sleep: Callable[[float], None] = time.sleep
    primed: ClassVar[bool] = False  # what another model left in the caches is gone after the idle time as well
    least_rounds: ClassVar[int] = LEAST_ROUNDS

    def calls(self, call_ns: float) -> int:  # noqa: ARG002 - whatever they take
        """Return a few: idle time, not the calls, makes such a block long."""
        return _PACED_CALLS

    def time(self, calls: Calls, out: NDArray[np.int64], rng: np.random.Generator, clock: Clock) -> None:  # noqa: ARG002 - nothing here is random
        """Time the calls alone, the idle time off the clock."""
        run, arguments, gap_s = calls.run, calls.arguments, self.gap_ns / 1e9
        for i in range(len(out)):
            given = arguments[i % len(arguments)]
            self.sleep(gap_s)
            begin = clock()
            run(*given)
            out[i] = clock() - begin


@dataclass(frozen=True)
class Server:
    """Calls that arrive at random (a Poisson process), `rate_per_s` on average, served one after the other.

    A time is from arrival to completion, so that it holds the wait for the calls before.
    """

    rate_per_s: float
    sleep: Callable[[float], None] = time.sleep
    primed: ClassVar[bool] = False  # the arrivals of the lead warm the caches
    least_rounds: ClassVar[int] = 1  # a block is long, and holds many calls

    def calls(self, call_ns: float) -> int:  # noqa: ARG002 - arrivals do not wait for calls
        """Return the arrivals of _ARRIVALS_NS, _LEAST_ARRIVALS at least."""
        return max(math.ceil(self.rate_per_s * _ARRIVALS_NS / 1e9), _LEAST_ARRIVALS)

    def time(self, calls: Calls, out: NDArray[np.int64], rng: np.random.Generator, clock: Clock) -> None:
        """Serve a lead and then `len(out)` arrivals, of which the times are kept."""
        run, arguments = calls.run, calls.arguments
        lead = math.ceil(_LEAD * len(out))
        begin = clock()
        due = begin + np.cumsum(rng.exponential(1e9 / self.rate_per_s, lead + len(out))).astype(np.int64)
        for i, arrival in enumerate(due.tolist()):
            given = arguments[i % len(arguments)]
            self._wait(arrival, clock)
            run(*given)
            if i >= lead:
                out[i - lead] = clock() - arrival

    def _wait(self, until_ns: int, clock: Clock) -> None:
        while (left := until_ns - clock()) > 0:
            if left > 2 * _SPIN_NS:
                self.sleep((left - _SPIN_NS) / 1e9)


_LOADS: Mapping[str, Callable[[Mapping[str, Any]], Load]] = {
    "stream": lambda _: Stream(),
    "paced": lambda told: Paced(told["gap_ms"] * 1_000_000),
    "server": lambda told: Server(told["rate_per_s"]),
}


def load_of(told: Mapping[str, Any]) -> Load:
    """Return the load that a configuration (`mode`, `gap_ms`, `rate_per_s`) asks for."""
    return _LOADS[told["mode"]](told)
