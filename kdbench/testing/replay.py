"""Call times that were taken elsewhere, entered into pytest-benchmark as if they had been taken by it.

pytest-benchmark asks a timer before and after every round. Ours gives out the time of one call of the model between
the two, so that the statistics of the test, in the terminal and in the JSON that other tools read, are the model's.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kdbench.results.records import Axes

_MOST = 1000  # rounds that are entered: every one is a number in the JSON


class Replay:
    """A timer that first goes like the clock, and that passes the given times in turn once it has been `loaded`.

    A test that asks for `benchmark` while it runs is timed by it as by the clock.
    """

    __name__ = "kdbench.call_times"  # what pytest-benchmark writes down as the timer

    def __init__(self) -> None:
        self._readings: list[float] = []

    def load(self, seconds: Sequence[float]) -> None:
        """Let the coming rounds take so long, one after the other."""
        # From zero every time, so that no rounding of a running sum gets into the differences.
        self._readings = [reading for each in reversed(seconds) for reading in (each, 0.0)]

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self._readings.pop() if self._readings else time.perf_counter()


REPLAY = pytest.StashKey[Replay]()


def enter(benchmark: Any, replay: Replay | None, seconds: Sequence[float], info: Mapping[str, Any]) -> None:
    """Enter a test's call times and what is told beside them with its fixture `benchmark`; nothing without times.

    A test that takes times with `benchmark` itself, and so has no `replay`, keeps them.
    """
    if info:
        benchmark.extra_info["kdbench"] = dict(info)
    if replay is None or benchmark.stats is not None:
        return
    # Without times there is no entry: switched off for this test, the fixture runs what it is given and notes nothing.
    benchmark.disabled = benchmark.disabled or not seconds
    replay.load(seconds)
    benchmark.pedantic(_nothing, rounds=max(len(seconds), 1))
    replay.load(())


def call_times(samples: "Mapping[str, NDArray[Any]]", model: str, axes: "Axes") -> list[float]:
    """Return the times of a model's calls at `axes` in seconds, ascending; empty where none were kept.

    Of more than a thousand, a thousand at equal steps of rank: a sample of the calls whose mean and spread do not
    depend on which of the rare slow ones were drawn.
    """
    import numpy as np

    from kdbench.results.samples import call_times_ns

    ns = call_times_ns(samples, [model], axes)
    if ns is None:
        return []
    ns = np.sort(ns)
    kept = min(len(ns), _MOST)
    ranks = ((np.arange(kept) + 0.5) * len(ns) / kept).astype(np.int64)
    return [float(each) / 1e9 for each in ns[ranks]]


def _nothing() -> None:
    pass
