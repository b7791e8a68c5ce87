"""Loads: calls back to back, with idle time before each, or arriving at random.

A load defines how many calls a block has, and times a block. numpy only, because it runs in the measuring process.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kdbench.worker.jobs import TimedConfiguration

Clock = Callable[[], int]

BLOCK_NS = 10_000_000  # a block of calls back to back takes about this long, and has at least one call
MIN_ROUNDS = 2  # eight sessions of a slow model have 16 calls; LoadGen's rule requires 11 for a median
_PACED_CALLS = 5  # in a block: with 5 ms between them models take turns every 25 ms
PRIME_BELOW_NS = 50_000_000  # refilling the caches takes a few ms, which is negligible for slower calls
_PRIMING_NS = 1_000_000  # of untimed calls refill the caches after another model
_ARRIVALS_NS = 250_000_000  # a block of arrivals lasts about this long …
_MIN_ARRIVALS = 20  # … and holds this many at least
_PAST = 10.0  # arrivals, divided by (1 - busy share)^2: then a queue no longer depends on its empty start
SATURATED = 0.95  # of the time busy: beyond, queues grow throughout the measurement, and no latency is typical
_SPIN_NS = 1_000_000  # at the end of a wait, spin: a late wake-up is not part of the model's latency


@dataclass(frozen=True)
class Calls:
    """The calls that are timed: `run(*arguments[i])`, cycling through the arguments."""

    run: Callable[..., object] | SelfTimed
    arguments: Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Turn:
    """One model's turn: its calls, the median time of a warm call, and the random generator and clock of all models."""

    calls: Calls
    call_ns: float
    rng: np.random.Generator
    clock: Clock = time.perf_counter_ns


class Load(Protocol):
    """A pattern of calls over time. A session has at least `least_rounds`, even if its budget is shorter."""

    least_rounds: ClassVar[int]

    def count(self, call_ns: float) -> int:
        """Return how many calls make a block when one takes `call_ns`."""

    def prime(self, turn: Turn) -> None:
        """Make untimed calls after another model's turn, so that the calls that follow are typical."""

    def time(self, turn: Turn, out: NDArray[np.int64]) -> None:
        """Time `len(out)` calls into `out`, in ns."""


def time_calls(calls: Calls, out: NDArray[np.int64], clock: Clock = time.perf_counter_ns) -> None:
    """Time `len(out)` calls back to back into `out`, in ns. Only the calls themselves are timed."""
    run, arguments = calls.run, calls.arguments
    if isinstance(run, SelfTimed):
        run.time(out)
        return
    different = len(arguments)
    for i in range(len(out)):
        args = arguments[i % different]
        begin = clock()
        run(*args)
        out[i] = clock() - begin


@dataclass(frozen=True)
class Stream:
    """Calls back to back."""

    least_rounds: ClassVar[int] = MIN_ROUNDS

    def count(self, call_ns: float) -> int:
        """Return as many calls as take BLOCK_NS."""
        return max(math.ceil(BLOCK_NS / max(call_ns, 1)), 1)

    def prime(self, turn: Turn) -> None:
        """Call for _PRIMING_NS, at least once; models too slow to be affected by cold caches are not primed."""
        if turn.call_ns < PRIME_BELOW_NS and not isinstance(turn.calls.run, SelfTimed):
            for i in range(max(math.ceil(_PRIMING_NS / max(turn.call_ns, 1)), 1)):
                turn.calls.run(*turn.calls.arguments[i % len(turn.calls.arguments)])

    def time(self, turn: Turn, out: NDArray[np.int64]) -> None:
        """Time them."""
        time_calls(turn.calls, out, turn.clock)


@dataclass(frozen=True)
class Paced:
    """Calls with `gap_ns` of idle time before each, as on a device that is mostly idle."""

    gap_ns: int
    sleep: Callable[[float], None] = time.sleep
    least_rounds: ClassVar[int] = MIN_ROUNDS

    def count(self, call_ns: float) -> int:  # noqa: ARG002 - independent of it
        """Return a fixed small number, because the idle time determines the length of a block."""
        return _PACED_CALLS

    def prime(self, turn: Turn) -> None:
        """Make one such call: idle time does not restore the caches after another model."""
        self.time(turn, np.empty(1, np.int64))

    def time(self, turn: Turn, out: NDArray[np.int64]) -> None:
        """Time the calls without the idle time."""
        run, arguments, clock, gap_s = turn.calls.run, turn.calls.arguments, turn.clock, self.gap_ns / 1e9
        if isinstance(run, SelfTimed):
            run.time(out, self.gap_ns // 1_000_000)
            return
        for i in range(len(out)):
            args = arguments[i % len(arguments)]
            self.sleep(gap_s)
            begin = clock()
            run(*args)
            out[i] = clock() - begin


@dataclass(frozen=True)
class Server:
    """Calls that arrive at random (a Poisson process), `rate_per_s` on average, served one after the other.

    A time is from arrival to completion, so that it includes the wait for earlier calls.
    """

    rate_per_s: float
    sleep: Callable[[float], None] = time.sleep
    least_rounds: ClassVar[int] = 1  # a block is long, and holds many calls

    def count(self, call_ns: float) -> int:
        """Return the expected arrivals in _ARRIVALS_NS, at least _MIN_ARRIVALS; 1 if they would saturate the server."""
        saturated = self.busy(call_ns) >= SATURATED
        return 1 if saturated else max(math.ceil(self.rate_per_s * _ARRIVALS_NS / 1e9), _MIN_ARRIVALS)

    def prime(self, turn: Turn) -> None:
        """Call once."""
        turn.calls.run(*turn.calls.arguments[0])

    def time(self, turn: Turn, out: NDArray[np.int64]) -> None:
        """Serve `len(out)` arrivals; the queue at the beginning is drawn from its steady state."""
        run, arguments, clock = turn.calls.run, turn.calls.arguments, turn.clock
        if isinstance(run, SelfTimed):  # its results become available only when a whole block has run
            message = "this runtime supports calls back to back or paced, but not random arrivals"
            raise RuntimeError(message)  # noqa: TRY004 - no argument is wrong
        backlog_ns = self.backlog_ns(turn.call_ns, turn.rng)
        begin = clock()
        due = begin + np.cumsum(turn.rng.exponential(1e9 / self.rate_per_s, len(out))).astype(np.int64)
        self._wait(begin + backlog_ns, clock)
        for i, arrival in enumerate(due.tolist()):
            args = arguments[i % len(arguments)]
            self._wait(arrival, clock)
            run(*args)
            out[i] = clock() - arrival

    def busy(self, call_ns: float) -> float:
        """Return the share of the time in which calls of `call_ns` keep the server busy; above 1 the queue grows."""
        return self.rate_per_s * call_ns / 1e9

    def backlog_ns(self, call_ns: float, rng: np.random.Generator) -> int:
        """Return how long a server in its steady state is still busy, drawn at random; 0 beyond saturation.

        A queue that starts empty needs 10 / (1 - busy share)^2 calls to reach its steady state. Instead, the waiting
        time of the last of so many arrivals is drawn (Lindley 1952), with a service time of `call_ns`.
        """
        busy = self.busy(call_ns)
        if busy >= SATURATED:
            return 0
        past = math.ceil(_PAST / (1 - busy) ** 2)
        steps = np.cumsum(call_ns - rng.exponential(1e9 / self.rate_per_s, past))
        return int(steps[-1] - min(steps.min(), 0.0))

    def _wait(self, until_ns: int, clock: Clock) -> None:
        while (left := until_ns - clock()) > 0:
            if left > 2 * _SPIN_NS:
                self.sleep((left - _SPIN_NS) / 1e9)


def load_of(configuration: TimedConfiguration) -> Load:
    """Return the load of a configuration, by its `mode`, `gap_ms` and `rate_per_s`."""
    if configuration.mode == "paced":
        return Paced(configuration.gap_ms * 1_000_000)
    return Server(configuration.rate_per_s) if configuration.mode == "server" else Stream()


@runtime_checkable
class SelfTimed(Protocol):
    """The `run` of a bound model that times its own calls.

    `calls_per_step` is the number of calls that are timed together, so that the resolution of the clock does not
    matter: each time is then their mean.
    """

    calls_per_step: int

    def __call__(self, *arguments: Any) -> object:
        """Call once, untimed."""

    def time(self, out: NDArray[np.int64], gap_ms: int = 0) -> None:
        """Time calls into `out`, in ns per call, with `gap_ms` of idle time before each, after warming the caches."""

    def preemptions(self) -> int:
        """Return how often the system preempted the thread that makes the calls."""


def calls_per_step(run: object) -> int:
    """Return how many calls of `run` are timed together."""
    return run.calls_per_step if isinstance(run, SelfTimed) else 1


def preemptions(run: object) -> int:
    """Return how often the system preempted the process that makes the calls of `run`.

    That is, took its core while it could run; waiting and the delay by an interrupt are not preemptions.
    """
    return run.preemptions() if isinstance(run, SelfTimed) else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
