"""own_openvino MODEL INPUTS SECONDS: what a call of OpenVINO from Python costs in kdbench.

It calls MODEL (a `JobModel` as JSON) as kdbench's sessions do, and reads after each call the time that the request
reports of itself. It prints the medians in ns: `request_ns` of that time, and `call_ns` of what the call takes beside.
"""

import gc
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from kdbench.worker.jobs import JobModel
from kdbench.worker.runtimes.openvino import LoadedModel

_DIFFERENT_INPUTS = 8  # as kdbench's sessions have


def main() -> None:
    """Call for SECONDS, and print."""
    model = JobModel(**json.loads(Path(sys.argv[1]).read_text()))
    inputs, seconds = np.load(sys.argv[2])[:_DIFFERENT_INPUTS], float(sys.argv[3])
    gc.disable()
    loaded = LoadedModel(model, provider="cpu", threads=1)
    infer, arguments = loaded.bind([np.ascontiguousarray(one[None]) for one in inputs])
    request = infer.__self__  # type: ignore[attr-defined]
    own_ns, call_ns = [], []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for args in arguments:
            begin = time.perf_counter_ns()
            infer(*args)
            took_ns = time.perf_counter_ns() - begin
            own_ns.append(request.latency * 1e6)
            call_ns.append(took_ns - own_ns[-1])
    print(json.dumps({"request_ns": statistics.median(own_ns), "call_ns": statistics.median(call_ns)}))


if __name__ == "__main__":
    main()
