"""Timing several models fairly in one process: calibrated warm-up, then short blocks in a new order every round.

A machine drifts within minutes, and models timed one after the other drift apart. Models that take turns every few
milliseconds drift together, so their ratio holds. A load says how many calls make a block, and how they follow each
other: back to back, with idle time before each, or as random arrivals. numpy only: it runs in the measuring process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from kdbench.machine.cores import preemptions
from kdbench.worker.jobs import TimedConfiguration

Clock = Callable[[], int]

BLOCK_NS = 10_000_000  # a block of calls back to back is as many as take about this long, and one at least
LEAST_ROUNDS = 2  # eight sessions of a slow model give 16 calls; LoadGen's rule wants 11 for a median
_PACED_CALLS = 5  # in a block: with 5 ms between them models take turns every 25 ms
_PRIME_BELOW_NS = 50_000_000  # the caches are refilled in a few ms, which does not affect slower calls
_PRIMING_NS = 1_000_000  # of calls off the clock refill the caches after another model
_ARRIVALS_NS = 250_000_000  # a block of arrivals lasts about this long …
_LEAST_ARRIVALS = 20  # … and holds this many at least
_PAST = 10.0  # arrivals, over (1 - busy share)^2: then a queue no longer depends on its empty start
SATURATED = 0.95  # of the time busy: beyond, queues grow throughout the measurement, and no latency is typical
_SPIN_NS = 1_000_000  # the end of a wait is spent spinning: waking up late is the system's latency, not the model's

_WINDOW_NS = 20_000_000
_LONGEST_WINDOW = 1000
_QUARTILES_AGREE = 0.1
WARM_UP_SHARE = 0.25  # the largest share of a configuration's budget for the warm-up of all models together
WARM_UP_RULE = (
    f"until the quartiles of two windows in a row agree within {_QUARTILES_AGREE:.0%}, "
    f"or {WARM_UP_SHARE:.0%} of the budget is spent"
)


@dataclass(frozen=True)
class Calls:
    """The calls that are timed: `run(*arguments[i])`, the arguments in turn."""

    run: Callable[..., object]
    arguments: Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Turn:
    """One model's turn: its calls, the median time of a warm one, and the random generator and clock of all models."""

    calls: Calls
    call_ns: float
    rng: np.random.Generator
    clock: Clock = time.perf_counter_ns


class Load(Protocol):
    """How calls follow each other. A session has `least_rounds`, however short."""

    least_rounds: ClassVar[int]

    def count(self, call_ns: float) -> int:
        """Return how many calls make a block when one takes `call_ns`."""

    def prime(self, turn: Turn) -> None:
        """Make calls off the clock so that those that follow are typical, after another model's turn."""

    def time(self, turn: Turn, out: NDArray[np.int64]) -> None:
        """Time `len(out)` calls into `out`, in ns."""


def time_calls(calls: Calls, out: NDArray[np.int64], clock: Clock = time.perf_counter_ns) -> None:
    """Time `len(out)` calls back to back into `out`, in ns. Everything but the call is done off the clock."""
    run, arguments = calls.run, calls.arguments
    different = len(arguments)
    for i in range(len(out)):
        args = arguments[i % different]
        begin = clock()
        run(*args)
        out[i] = clock() - begin


@dataclass(frozen=True)
class Stream:
    """Calls back to back."""

    least_rounds: ClassVar[int] = LEAST_ROUNDS

    def count(self, call_ns: float) -> int:
        """Return as many calls as take BLOCK_NS."""
        return max(math.ceil(BLOCK_NS / max(call_ns, 1)), 1)

    def prime(self, turn: Turn) -> None:
        """Call for _PRIMING_NS, once at least; calls too long to be affected by cold caches are not primed."""
        if turn.call_ns < _PRIME_BELOW_NS:
            for i in range(max(math.ceil(_PRIMING_NS / max(turn.call_ns, 1)), 1)):
                turn.calls.run(*turn.calls.arguments[i % len(turn.calls.arguments)])

    def time(self, turn: Turn, out: NDArray[np.int64]) -> None:
        """Time them."""
        time_calls(turn.calls, out, turn.clock)


@dataclass(frozen=True)
class Paced:
    """Calls with `gap_ns` of idle time before each: caches and clocks of a device that mostly waits."""

    gap_ns: int
    sleep: Callable[[float], None] = time.sleep
    least_rounds: ClassVar[int] = LEAST_ROUNDS

    def count(self, call_ns: float) -> int:  # noqa: ARG002 - whatever they take
        """Return a few calls: idle time, not the calls, makes such a block long."""
        return _PACED_CALLS

    def prime(self, turn: Turn) -> None:
        """Make one such call: idle time does not clear the caches of what another model left."""
        self.time(turn, np.empty(1, np.int64))

    def time(self, turn: Turn, out: NDArray[np.int64]) -> None:
        """Time the calls alone, the idle time off the clock."""
        run, arguments, clock, gap_s = turn.calls.run, turn.calls.arguments, turn.clock, self.gap_ns / 1e9
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
        """Return the arrivals of _ARRIVALS_NS, _LEAST_ARRIVALS at least; 1 if they would saturate the server."""
        saturated = self.busy(call_ns) >= SATURATED
        return 1 if saturated else max(math.ceil(self.rate_per_s * _ARRIVALS_NS / 1e9), _LEAST_ARRIVALS)

    def prime(self, turn: Turn) -> None:
        """Call once."""
        turn.calls.run(*turn.calls.arguments[0])

    def time(self, turn: Turn, out: NDArray[np.int64]) -> None:
        """Serve `len(out)` arrivals; the first ones meet the queue as it would be after a long time."""
        run, arguments, clock = turn.calls.run, turn.calls.arguments, turn.clock
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
        """Return the share of the time that calls of `call_ns` would keep it busy; above 1 it cannot keep up."""
        return self.rate_per_s * call_ns / 1e9

    def backlog_ns(self, call_ns: float, rng: np.random.Generator) -> int:
        """Return for how long a server in its steady state would still be busy, drawn at random; 0 beyond saturation.

        A queue that begins empty takes 10 / (1 - busy share)^2 calls to fill. That past is drawn instead: the wait of
        the last of these arrivals (Lindley 1952), if every call takes `call_ns`.
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


def clock_step_ns(readings: int = 1000) -> float:
    """Return the least time between two readings of the clock that calls are timed with: its step or its cost."""
    clock = time.perf_counter_ns
    times = np.array([clock() for _ in range(readings)])
    steps = np.diff(times)
    return float(np.min(steps[steps > 0], initial=times[-1] - times[0]))


def load_of(configuration: TimedConfiguration) -> Load:
    """Return the load of a configuration, by its `mode`, `gap_ms` and `rate_per_s`."""
    if configuration.mode == "paced":
        return Paced(configuration.gap_ms * 1_000_000)
    return Server(configuration.rate_per_s) if configuration.mode == "server" else Stream()


_STREAM = Stream()


@dataclass(frozen=True)
class Ready:
    """Warm calls: the number of calls of the warm-up, and the median time of a call since."""

    calls: Calls
    warm_up_calls: int
    call_ns: float


@dataclass(frozen=True)
class Timed:
    """The timed calls of one model: the time of each in ns, its round, and how often its block was preempted."""

    ns: NDArray[np.int64]
    block: NDArray[np.int32]
    preempted: NDArray[np.int32]


class TurnError(Exception):
    """A model's calls raised `error` in its turn; `index` is its position among the interleaved models."""

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__(index, error)
        self.index, self.error = index, error


def warm_up(calls: Calls, cap_ns: float, clock: Clock = time.perf_counter_ns) -> Ready:
    """Call until the quartiles of two windows in a row agree within 10 %, or `cap_ns` is over (pyperf's rule).

    The first call allocates and is never typical; the second sizes the windows if there is time for it.
    """
    begin = clock()
    window = np.empty(1, np.int64)
    time_calls(calls, window, clock)
    done = 1
    if clock() - begin < cap_ns:
        time_calls(calls, window, clock)
        done = 2
    call_ns = float(window[0])
    window = np.empty(int(np.clip(_WINDOW_NS / max(call_ns, 1), 1, _LONGEST_WINDOW)), np.int64)
    before = None
    while clock() - begin < cap_ns:
        time_calls(calls, window, clock)
        done += len(window)
        now = np.quantile(window, (0.25, 0.5, 0.75))
        call_ns = float(now[1])
        if before is not None and (np.abs(now - before) <= _QUARTILES_AGREE * before).all():
            break
        before = now
    return Ready(calls, done, call_ns)


def interleave(
    ready: Sequence[Ready],
    deadline_ns: int,
    rng: np.random.Generator,
    tick: Callable[[], None],
    clock: Clock = time.perf_counter_ns,
    load: Load = _STREAM,
) -> list[Timed]:
    """Time one block of each of `ready` a round until `deadline_ns` on `clock`, and `load.least_rounds` at least.

    A round that would end after the deadline does not start. The load primes a block off the clock, so that no call is
    timed on another model's caches. `tick` is called after each round. The system counts off the clock how often it
    takes the core away during a block.
    """
    turns = [Turn(model.calls, model.call_ns, rng, clock) for model in ready]
    lengths = [load.count(model.call_ns) for model in ready]
    blocks: list[list[NDArray[np.int64]]] = [[] for _ in ready]
    preempted: list[list[int]] = [[] for _ in ready]
    begin = clock()
    rounds = 0
    while ready and (rounds < load.least_rounds or clock() + (clock() - begin) / rounds <= deadline_ns):
        for index in rng.permutation(len(ready)):
            ns = np.empty(lengths[index], np.int64)
            try:
                if len(turns) > 1:
                    load.prime(turns[index])
                before = preemptions()
                load.time(turns[index], ns)
                preempted[index].append(preemptions() - before)
            except Exception as error:  # the caller knows which of a runtime's exceptions are a model's faults
                raise TurnError(index, error) from error
            blocks[index].append(ns)
        rounds += 1
        tick()
    return [
        Timed(
            np.concatenate(times),
            np.repeat(np.arange(rounds, dtype=np.int32), length),
            np.repeat(np.array(counts, dtype=np.int32), length),
        )
        for times, counts, length in zip(blocks, preempted, lengths)
    ]
