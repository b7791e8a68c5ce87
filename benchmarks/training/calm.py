"""Timing on a shared machine: wait for other work to end, and repeat timings that it disturbed."""

import time
from collections.abc import Callable
from typing import Any

import psutil

from benchmarks.trust.repeats import watched

# Of other work on the whole machine, the two cores that are timed not counted; from it on a timing is repeated.
LIMIT_CORES = 2.5
_SAMPLE_S, _SAMPLES = 2.0, 2


def undisturbed(measure: Callable[[], dict[str, Any]], limit_cores: float = LIMIT_CORES) -> dict[str, Any]:
    """Return the result of `measure` while others keep less than `limit_cores` cores busy, and how often it was called.

    Whether a timing is kept depends on what others did during it, never on what it found.
    """
    tries = 0
    while True:
        _wait(limit_cores)
        with watched() as machine:
            timing = measure()
        tries += 1
        if machine["others_cores"] <= limit_cores:
            return {**timing, "others_cores": machine["others_cores"], "tries": tries}


def _wait(limit_cores: float) -> None:
    """Return once others have kept less than `limit_cores` cores busy for some seconds."""
    calm, reported = 0, False
    while calm < _SAMPLES:
        busy_cores = psutil.cpu_percent(_SAMPLE_S) / 100 * (psutil.cpu_count() or 1)
        calm = calm + 1 if busy_cores <= limit_cores else 0
        if not calm and not reported:
            print(f"{time.strftime('%H:%M')}: waiting for others, who keep {busy_cores:.1f} cores busy", flush=True)
            reported = True
