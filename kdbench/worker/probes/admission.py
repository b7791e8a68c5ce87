"""Whether a runtime can run models here: each model is loaded and called on single images, and its logits are kept.

The result has `facts` of the runtime and, by model id: `load_ns` and `first_run_ns` (nothing is compiled before the
first call), `kernels` (how many layers compute in each precision, if the runtime reports it), `properties` (what the
model needs in the runtime) and `errors` (reason and hint).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.worker.channel import Channel
from kdbench.worker.faults import describe
from kdbench.worker.inputs import prepare
from kdbench.worker.jobs import AdmissionJob
from kdbench.worker.runtimes import RemoteModel, ReportsDeployment, ReportsKernels, runtime


def run(job: AdmissionJob, channel: Channel) -> dict[str, Any]:
    """Load and call every model of the job; one that fails leaves no file."""
    chosen = runtime(job.runtime)
    load_ns: dict[str, int] = {}
    first_run_ns: dict[str, int] = {}
    kernels: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    errors: dict[str, tuple[str, str]] = {}
    for number, (model, file) in enumerate(zip(job.models, job.files)):
        channel.model(model.id)
        channel.step(number, len(job.models))
        inputs = prepare(np.load(model.images), model)
        batch = model.fixed_batch or 1
        try:
            begin = time.perf_counter_ns()
            loaded = chosen.load(model, provider=job.provider, threads=job.threads)
            loaded_ns = time.perf_counter_ns()
            loaded(inputs[:batch])
            times = loaded_ns - begin, time.perf_counter_ns() - loaded_ns
            if isinstance(loaded, RemoteModel):
                times = loaded.load_ns, loaded.call_ns
            complete = len(inputs) - len(inputs) % batch
            logits = np.concatenate([loaded(inputs[n : n + batch]) for n in range(0, complete, batch)])
        except chosen.faults as error:
            errors[model.id] = (describe(error), getattr(error, "hint", ""))
            continue
        load_ns[model.id], first_run_ns[model.id] = times
        if isinstance(loaded, ReportsKernels):
            kernels[model.id] = loaded.kernels()
        if isinstance(loaded, ReportsDeployment):
            properties[model.id] = loaded.properties()
        with Path(file).open("wb") as stream:
            np.save(stream, logits)
    return {
        "facts": dict(chosen.facts(job.provider)),
        "load_ns": load_ns,
        "first_run_ns": first_run_ns,
        "kernels": kernels,
        "properties": properties,
        "errors": errors,
    }
