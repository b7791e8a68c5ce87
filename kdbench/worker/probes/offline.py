"""The batch up to which each model's throughput grows.

The times of this process are not results. All models stay loaded, as in the measuring sessions, so that the memory that
is sufficient here is sufficient there.

Result: `sweeps`, for each id a `kdbench.worker.batch_sweep.Sweep`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from kdbench.machine.memory import available_bytes, resident_bytes
from kdbench.worker.batch_sweep import Limits, Sweep, sweep
from kdbench.worker.channel import Channel
from kdbench.worker.faults import describe
from kdbench.worker.inputs import batch_inputs, sample_bytes
from kdbench.worker.jobs import JobModel, OfflineJob
from kdbench.worker.loads import Calls
from kdbench.worker.runtimes.onnxruntime import FAULTS, LoadedModel
from kdbench.worker.timing import warm_up

# A look at one batch takes this long, or this share of the budget if that is shorter.
_POLL_NS = 100_000_000
_POLL_SHARE = 0.02


def run(job: OfflineJob, channel: Channel) -> dict[str, Any]:
    """Sweep every model of the job; the unspent part of a model's budget goes to those after it."""
    loaded: list[LoadedModel] = []
    left_ns = job.budget_ns
    sweeps = {}
    for number, model in enumerate(job.models):
        channel.model(model.id)
        channel.step(number, len(job.models))
        result, cost_ns = _sweep(model, job, left_ns / (len(job.models) - number), loaded)
        left_ns -= cost_ns
        sweeps[model.id] = asdict(result)
    return {"sweeps": sweeps}


def _sweep(model: JobModel, job: OfflineJob, budget_ns: float, loaded: list[LoadedModel]) -> tuple[Sweep, float]:
    """Return the sweep of one model, and the time that its batches will cost."""
    first, look_ns = model.fixed_batch or 1, min(_POLL_NS, _POLL_SHARE * budget_ns)
    try:
        target = LoadedModel(model, provider=job.provider, threads=job.threads)
    except FAULTS as error:
        return Sweep(next_batch=first, ended="fault", fault=describe(error)), 0.0
    loaded.append(target)
    loaded_bytes = resident_bytes()

    def call_ns(batch: int) -> float:
        return warm_up(Calls(*target.bind([batch_inputs(model, batch)])), look_ns).call_ns

    def needed_bytes(batch: int) -> int:
        """Return the memory that `batch`, twice the last one, is expected to need: as much again, and its inputs.

        Activations grow with the batch, and the runtime's arena frees nothing. Memory that does not grow counts again
        too, so this is an upper estimate. GPU memory does not count: there the runtime refuses a batch that does not
        fit, and continues to work.
        """
        return max(resident_bytes() - loaded_bytes, 0) + batch * sample_bytes(model)

    limits = Limits(budget_ns, job.repeats, job.least_ns, needed_bytes, available_bytes)
    exhausted = (lambda _: "fixed") if model.fixed_batch else limits.exhausted
    result = sweep(call_ns, exhausted, describe, FAULTS, first)
    return result, limits.cost_ns(result.steps)
