"""Peak memory of loading and running one model, in a process that does nothing else.

Before counting begins, a graph that computes nothing is loaded and run: the runtime's code and tables come into memory
with the first session of any model, and would count as the model's (6.7 of 11.8 MB for a ResNet-20).

Result: `baseline_bytes`, `peak_bytes`, `since` (when counting of the peak began, in words), `device_bytes` and
`device_source` (None on the CPU), `device_error` (why there is no number, or None), and `errors` (id to reason; then
nothing else).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kdbench.machine.memory import DeviceMemory, MemoryUnknownError, high_water, reset_high_water, resident_bytes
from kdbench.worker.channel import Channel
from kdbench.worker.faults import describe
from kdbench.worker.inputs import batch_inputs, prepare
from kdbench.worker.jobs import MemoryJob
from kdbench.worker.runtimes.onnxruntime import FAULTS, LoadedModel


def run(job: MemoryJob, channel: Channel) -> dict[str, Any]:
    """Load the model, run it, and return how much memory that took."""
    model = job.model
    channel.model(model.id)
    settings: dict[str, Any] = {"provider": job.provider, "threads": job.threads}
    device: DeviceMemory | None = None
    on_device: dict[str, Any] = {"device_bytes": None, "device_source": None, "device_error": None}
    try:
        device = DeviceMemory() if job.provider == "cuda" else None
    except MemoryUnknownError as unknown:
        on_device["device_error"] = str(unknown)
    try:
        LoadedModel(job.null, **settings)(prepare(np.zeros((1, 1, 1, 1), np.uint8), job.null))
        inputs = batch_inputs(model, job.batch)
        was_reset = reset_high_water()
        baseline = resident_bytes()
        loaded = LoadedModel(model, **settings)
        for _ in range(job.calls):
            loaded(inputs)
        peak_bytes, since = high_water(was_reset=was_reset)
    except FAULTS as error:
        return {"errors": {model.id: describe(error)}}
    if device is not None:
        try:  # the runtime's arena frees nothing, so memory in use is the peak
            on_device["device_bytes"], on_device["device_source"] = device.usage()
        except MemoryUnknownError as unknown:
            on_device["device_error"] = str(unknown)
    return {"baseline_bytes": baseline, "peak_bytes": peak_bytes, "since": since, "errors": {}, **on_device}
