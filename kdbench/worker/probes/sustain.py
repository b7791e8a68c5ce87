"""Sustained load: calls without a pause for minutes, the models taking turns, with the machine's temperature and clock.

One line per block is appended to the job's file `lines` at once, so that an interruption keeps the results so far: the
seconds since the beginning, the model's position, the number of calls, their median, mean and longest time in ns, the
temperature in °C and the clock in kHz (null where the machine does not show it). The models share one thermal state, so
their order at the end is that of this machine under load.

Result: `blocks`, their number, and `errors` (id to reason; then nothing else).
"""

from __future__ import annotations

import gc
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.machine.system_files import clock_khz, temperature_c
from kdbench.worker.channel import Channel
from kdbench.worker.faults import describe
from kdbench.worker.inputs import batch_inputs
from kdbench.worker.jobs import JobModel, SustainJob
from kdbench.worker.loads import Calls, time_calls
from kdbench.worker.runtimes.onnxruntime import FAULTS, LoadedModel
from kdbench.worker.timing import warm_up

_WARM_UP_NS = 200_000_000
_MAX_CALLS = 1_000_000  # of a block


def run(job: SustainJob, channel: Channel) -> dict[str, Any]:
    """Call the models in turn for the job's time."""
    gc.disable()
    models: list[tuple[Calls, int]] = []
    for model in job.models:
        channel.model(model.id)
        try:
            models.append(_ready(model, job))
        except FAULTS as error:
            return {"errors": {model.id: describe(error)}}
    begin, blocks = time.monotonic(), 0
    with Path(job.lines).open("w", encoding="utf-8") as stream:
        while (elapsed_s := time.monotonic() - begin) < job.seconds:
            for number, (calls, count) in enumerate(models):
                at_s, ns = time.monotonic() - begin, np.empty(count, np.int64)
                try:
                    time_calls(calls, ns)
                except FAULTS as error:
                    return {"errors": {job.models[number].id: describe(error)}}
                times = (float(np.median(ns)), float(ns.mean()), float(ns.max()))
                stream.write(json.dumps([round(at_s, 6), number, count, *times, temperature_c(), clock_khz()]) + "\n")
                blocks += 1
            stream.flush()
            channel.step(elapsed_s, job.seconds)
    return {"blocks": blocks, "errors": {}}


def _ready(model: JobModel, job: SustainJob) -> tuple[Calls, int]:
    """Return a model's calls, warm, and how many of them make a block."""
    loaded = LoadedModel(model, provider=job.provider, threads=job.threads)
    calls = Calls(*loaded.bind([batch_inputs(model, model.fixed_batch or 1)]))
    call_ns = warm_up(calls, _WARM_UP_NS).call_ns
    return calls, int(np.clip(job.block_s * 1e9 / max(call_ns, 1), 1, _MAX_CALLS))
