"""The start of a fresh process up to full speed: importing, loading, the first call, later calls.

Files may be in the page cache. Every call has the same input, so that their times compare.

Result: `import_ns` (of the runtime, numpy being there already), `load_ns`,
`first_run_ns`, `steady_run_ns` (median of the calls after warm-up), and `errors` (id to reason; then nothing else).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from kdbench.worker.channel import Channel
from kdbench.worker.faults import describe
from kdbench.worker.inputs import batch_inputs
from kdbench.worker.jobs import ColdStartJob
from kdbench.worker.loads import Calls, time_calls
from kdbench.worker.timing import warm_up

_WARM_UP_NS = 250_000_000
_STEADY_NS = 100_000_000
_MIN_CALLS, _MAX_CALLS = 5, 1000


def run(job: ColdStartJob, channel: Channel) -> dict[str, Any]:
    """Import the runtime, load the model, and run it."""
    model = job.model
    channel.model(model.id)
    inputs = batch_inputs(model, model.fixed_batch or 1)
    start = time.perf_counter_ns()
    from kdbench.worker.runtimes.onnxruntime import FAULTS, LoadedModel  # here: its time is one of the results

    imported = time.perf_counter_ns()
    try:
        target = LoadedModel(model, provider=job.provider, threads=job.threads)
        loaded = time.perf_counter_ns()
        target(inputs)
        ran = time.perf_counter_ns()
        calls = Calls(target, [(inputs,)])
        call_ns = warm_up(calls, _WARM_UP_NS).call_ns
        steady_ns = np.empty(int(np.clip(_STEADY_NS / max(call_ns, 1), _MIN_CALLS, _MAX_CALLS)), np.int64)
        time_calls(calls, steady_ns)
    except FAULTS as error:
        return {"errors": {model.id: describe(error)}}
    return {
        "import_ns": imported - start,
        "load_ns": loaded - imported,
        "first_run_ns": ran - loaded,
        "steady_run_ns": float(np.median(steady_ns)),
        "errors": {},
    }
