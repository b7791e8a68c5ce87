"""A naive timing script: a few calls to warm up, then one model's calls, then the other's, and medians.

`python -m benchmarks.trust.methods.naive JOB.json` prints each model's median and mean in ns, as JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.trust.methods.loaded import loaded, opened
from kdbench.worker.loads import Calls

_WARM_UP_CALLS = 10
_MIN_CALLS = 200


def times_ns(calls: Calls, seconds: float) -> list[int]:
    """Return the times of calls over `seconds`, and of _MIN_CALLS at least."""
    run, arguments = calls.run, calls.arguments[0]
    for _ in range(_WARM_UP_CALLS):
        run(*arguments)
    times: list[int] = []
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while len(times) < _MIN_CALLS or time.perf_counter_ns() < end:
        begin = time.perf_counter_ns()
        run(*arguments)
        times.append(time.perf_counter_ns() - begin)
    return times


if __name__ == "__main__":
    job = opened(Path(sys.argv[1]))
    everything = [loaded(model) for model in job["models"]]
    times = [times_ns(calls, job["seconds"]) for calls in everything]
    print(json.dumps([[float(np.median(of_model)), float(np.mean(of_model))] for of_model in times]))
