"""Timing several models fairly in one process: calibrated warm-up, then short blocks in a new order every round.

A machine drifts within minutes, and models timed one after the other drift apart. Models that take turns every few
milliseconds drift together, so their ratio holds. numpy only: it runs in the measuring process.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.worker.loads import Calls, Clock, Load, Stream, Turn, time_calls

_WINDOW_NS = 20_000_000
_LONGEST_WINDOW = 1000
_QUARTILES_AGREE = 0.1
_STREAM = Stream()
WARM_UP_SHARE = 0.25  # the largest share of a configuration's budget for the warm-up of all models together
WARM_UP_RULE = (
    f"until the quartiles of two windows in a row agree within {_QUARTILES_AGREE:.0%}, "
    f"or {WARM_UP_SHARE:.0%} of the budget is spent"
)


@dataclass(frozen=True)
class Ready:
    """Warm calls: the number of calls of the warm-up, and the median time of a call since."""

    calls: Calls
    warm_up_calls: int
    call_ns: float


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
) -> list[tuple[NDArray[np.int64], NDArray[np.int32]]]:
    """Time one block of each of `ready` a round until `deadline_ns` on `clock`, and `load.least_rounds` at least.

    A round that would end after the deadline does not start. The load primes a block off the clock, so that no call is
    timed on another model's caches. `tick` is called after each round. Returns, for each model, the times of its calls
    in ns and the round of each call.
    """
    turns = [Turn(model.calls, model.call_ns, rng, clock) for model in ready]
    lengths = [load.count(model.call_ns) for model in ready]
    blocks: list[list[NDArray[np.int64]]] = [[] for _ in ready]
    begin = clock()
    rounds = 0
    while ready and (rounds < load.least_rounds or clock() + (clock() - begin) / rounds <= deadline_ns):
        for index in rng.permutation(len(ready)):
            ns = np.empty(lengths[index], np.int64)
            try:
                if len(turns) > 1:
                    load.prime(turns[index])
                load.time(turns[index], ns)
            except Exception as error:  # the caller knows which of a runtime's exceptions are a model's faults
                raise TurnError(index, error) from error
            blocks[index].append(ns)
        rounds += 1
        tick()
    return [
        (np.concatenate(times), np.repeat(np.arange(rounds, dtype=np.int32), length))
        for times, length in zip(blocks, lengths, strict=True)
    ]
