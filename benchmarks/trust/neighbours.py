"""Work beside a measurement: none, one core kept busy, or bursts on every core.

The work walks through memory as well as computing, so that it competes for caches as other programs do.
`python -m benchmarks.trust.neighbours steady SEED` works until it is killed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

CONDITIONS = ("idle", "steady", "bursts")
_WORDS = 1 << 20  # 8 MB
_BUSY_S, _QUIET_S = 0.4, 1.2  # mean lengths of a burst and of the pause after it


@contextmanager
def neighbours(condition: str, seed: int) -> Iterator[None]:
    """Run the work of a condition in processes of its own meanwhile; `seed` decides when bursts come."""
    count = {"idle": 0, "steady": 1, "bursts": os.cpu_count() or 1}[condition]
    command = [sys.executable, "-m", "benchmarks.trust.neighbours", condition]
    processes = [subprocess.Popen([*command, str(seed * count + number)]) for number in range(count)]
    try:
        if processes:
            time.sleep(1.0)  # they start
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def work(seconds: float) -> None:
    """Keep one core busy for `seconds`."""
    words = np.arange(_WORDS, dtype=np.float64)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        words *= 0.9999
        sum(range(20_000))


def main(condition: str, seed: int) -> None:
    """Work without an end."""
    rng = np.random.default_rng(seed)
    while True:
        work(rng.exponential(_BUSY_S) if condition == "bursts" else 60.0)
        if condition == "bursts":
            time.sleep(rng.exponential(_QUIET_S))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
