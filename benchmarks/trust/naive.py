"""A naive timing script: a few calls to warm up, then one model's calls, then the other's, and medians.

`python -m benchmarks.trust.naive JOB.json` prints the medians in ns, as JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.trust.loaded import loaded, opened
from kdbench.worker.timing import Calls

_WARM_UP_CALLS = 10
_LEAST_CALLS = 200


def median_ns(calls: Calls, seconds: float) -> float:
    """Return the median time of a call over `seconds`, and _LEAST_CALLS at least."""
    run, arguments = calls.run, calls.arguments[0]
    for _ in range(_WARM_UP_CALLS):
        run(*arguments)
    times: list[int] = []
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while len(times) < _LEAST_CALLS or time.perf_counter_ns() < end:
        begin = time.perf_counter_ns()
        run(*arguments)
        times.append(time.perf_counter_ns() - begin)
    return float(np.median(times))


if __name__ == "__main__":
    job = opened(Path(sys.argv[1]))
    everything = [loaded(model) for model in job["models"]]
    print(json.dumps([median_ns(calls, job["seconds"]) for calls in everything]))
