"""Calls before the clock counts, until the engine has compiled what it runs as well as it will.

An engine such as V8 begins with code that is compiled fast and runs slowly, and compiles busy functions again in other
threads. On one core that takes seconds, in which a convolutional network takes two to ten times its later time. Short
windows of such calls agree with each other, so that `worker.timing.warm_up` alone would end too early.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

QUIET_S = 1.5
"""The calls are settled when for so long none were faster and nothing was compiled."""

_MAX_S = 15.0
_WINDOW_NS = 200_000_000
_MAX_CALLS = 10_000  # of a window
_FASTER = 0.03  # than the fastest before
_COMPILING = 0.15  # of the time, in other threads of the engine; a page that calls a model needs 0.05


def settle(
    time_calls: Callable[[NDArray[np.int64]], None],
    helpers_s: Callable[[], float],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Let `time_calls`, which fills an array with times in ns, call until its times fall no more.

    `helpers_s` is the CPU time of the threads that may be compiling; it stays 0 where that is not known.
    """
    begin = since = now = clock()
    best, calls, used_s = np.inf, 1, helpers_s()
    while now - since < QUIET_S and now - begin < _MAX_S:
        window = np.empty(calls, np.int64)
        time_calls(window)
        before, now = now, clock()
        before_s, used_s = used_s, helpers_s()
        fast = float(np.quantile(window, 0.25))  # the slow calls of a window wait for other threads
        calls = int(np.clip(_WINDOW_NS / max(fast, 1.0), 1, _MAX_CALLS))
        if fast < (1 - _FASTER) * best or used_s - before_s > _COMPILING * (now - before):
            since = now
        best = min(best, fast)
