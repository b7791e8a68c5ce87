"""Timing several models fairly in one process: calibrated warm-up, then short blocks in a new order every round.

A machine's speed drifts within minutes, which biases the ratio of models timed one after the other. Models that take
turns every few milliseconds drift together, so their ratio stays correct. numpy only, because it runs in the measuring
process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.worker.loads import Calls, Clock, Load, Stream, Turn, calls_per_step, preemptions, time_calls

_WINDOW_NS = 20_000_000
_MAX_WINDOW = 1000
_QUARTILES_AGREE = 0.1
WARM_UP_SHARE = 0.25  # the largest share of a configuration's budget for the warm-up of all models together
WARM_UP_RULE = (
    f"until the quartiles of two windows in a row agree within {_QUARTILES_AGREE:.0%}, "
    f"or {WARM_UP_SHARE:.0%} of the budget is spent"
)


def clock_step_ns(readings: int = 1000) -> float:
    """Return the smallest difference of two readings of the clock that times calls: its step or its cost."""
    clock = time.perf_counter_ns
    times = np.array([clock() for _ in range(readings)])
    steps = np.diff(times)
    return float(np.min(steps[steps > 0], initial=times[-1] - times[0]))


_STREAM = Stream()


@dataclass(frozen=True)
class WarmUp:
    """Calls after their warm-up: the number of warm-up calls, and the median time of a warm call."""

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
    """Raised if a model's call raises `error` in its turn; `index` is its position among the interleaved models."""

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__(index, error)
        self.index, self.error = index, error


def warm_up(calls: Calls, cap_ns: float, clock: Clock = time.perf_counter_ns) -> WarmUp:
    """Call until the quartiles of two successive windows agree within 10 %, or `cap_ns` has passed (pyperf's rule).

    The first call allocates memory and is not typical; the second determines the size of windows, if time allows.
    """
    begin = clock()
    window = np.empty(1, np.int64)
    time_calls(calls, window, clock)
    done = 1
    if clock() - begin < cap_ns:
        time_calls(calls, window, clock)
        done = 2
    call_ns = float(window[0])
    calls_in = _WINDOW_NS / max(call_ns, 1) / calls_per_step(calls.run)
    window = np.empty(int(np.clip(calls_in, 1, _MAX_WINDOW)), np.int64)
    before = None
    while clock() - begin < cap_ns:
        time_calls(calls, window, clock)
        done += len(window)
        now = np.quantile(window, (0.25, 0.5, 0.75))
        call_ns = float(now[1])
        if before is not None and (np.abs(now - before) <= _QUARTILES_AGREE * before).all():
            break
        before = now
    return WarmUp(calls, done, call_ns)


class Interleaving:
    """Timing of models that are `ready`, in rounds: each round has one block of every model, in a new order.

    The load primes each block untimed, so that no call is timed with another model's caches. The preemptions of each
    block are counted outside the timed calls.
    """

    def __init__(
        self,
        ready: Sequence[WarmUp],
        rng: np.random.Generator,
        clock: Clock = time.perf_counter_ns,
        load: Load = _STREAM,
    ) -> None:
        self._turns = [Turn(model.calls, model.call_ns, rng, clock) for model in ready]
        self._lengths = [math.ceil(load.count(m.call_ns) / calls_per_step(m.calls.run)) for m in ready]
        self._blocks: list[list[NDArray[np.int64]]] = [[] for _ in ready]
        self._preempted: list[list[int]] = [[] for _ in ready]
        self._rng, self._clock, self._load = rng, clock, load
        self._begin, self._rounds = clock(), 0

    def has_time(self, deadline_ns: int) -> bool:
        """Whether another round is due: one of the load's `least_rounds`, or one that ends by `deadline_ns`."""
        if self._rounds < self._load.least_rounds:
            return bool(self._turns)
        now = self._clock()
        return now + (now - self._begin) / self._rounds <= deadline_ns

    def time_round(self) -> None:
        """Time one block of every model. Raises TurnError for the model whose call fails."""
        for index in self._rng.permutation(len(self._turns)):
            try:
                self._time_block(index)
            except Exception as error:  # the caller decides which of a runtime's exceptions are a model's faults
                raise TurnError(index, error) from error
        self._rounds += 1

    def _time_block(self, index: int) -> None:
        turn, ns = self._turns[index], np.empty(self._lengths[index], np.int64)
        if len(self._turns) > 1:
            self._load.prime(turn)
        before = preemptions(turn.calls.run)
        self._load.time(turn, ns)
        self._preempted[index].append(preemptions(turn.calls.run) - before)
        self._blocks[index].append(ns)

    def timed(self) -> list[Timed]:
        """Return the timed calls of each model."""
        return [
            Timed(
                np.concatenate(times),
                np.repeat(np.arange(self._rounds, dtype=np.int32), length),
                np.repeat(np.array(counts, dtype=np.int32), length),
            )
            for times, counts, length in zip(self._blocks, self._preempted, self._lengths)
        ]
