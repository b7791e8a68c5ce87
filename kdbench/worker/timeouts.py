"""The time that a measuring process may send no message; after that, it hangs or its model is too slow to be timed.

Processes report progress between calls, so silence lasts as long as one step: loading a model, a call, a window of a
meter, or the first calls at a batch. The limit is several times what usable models need for each.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from kdbench.worker.jobs import EnergyJob, Job, LatencyJob, OfflineJob

_MIN_S = 40.0
_SAMPLE_S = 1.0  # of one call, by its batch
_BYTES_PER_S = 10e6  # of a model that is loaded and optimised
_UPDATE_S = 2.0  # of a slow meter
_RUNTIMES_S = {  # loading the library, compiling
    **dict.fromkeys(("openvino", "litert", "onnxruntime-web", "onnxruntime-web-node", "torch"), 60.0),
    "torch-compiled": 900.0,
}
_CUDA_S = 120.0  # loading its libraries, searching algorithms
_PACED_CALLS = 20


def silence_limit_s(job: Job, batch: int | None = None) -> float:
    """Return the seconds that may pass between two messages of the process that runs `job`.

    `batch` is the batch that the process has reported; None before that, for the largest batch of the job.
    """
    runtime = _RUNTIMES_S.get(getattr(job, "runtime", ""), 0.0)
    device = _CUDA_S if job.provider != "cpu" else 0.0
    size = sum(_bytes(Path(model.path)) for model in job.called_models) / _BYTES_PER_S
    samples = max(_batches(job), default=1) if batch is None else batch
    return _MIN_S + runtime + device + size + samples * _SAMPLE_S + _planned_s(job)


def _batches(job: Job) -> Iterator[int]:
    """Yield the batches of a job whose process does not report each batch when it begins."""
    yield from (model.fixed_batch for model in job.called_models if model.fixed_batch)
    yield getattr(job, "batch", 1)
    yield from (batch for _, batch in getattr(job, "runs", ()))


def _planned_s(job: Job) -> float:
    """Return the seconds without a message that are part of the job's plan."""
    if isinstance(job, LatencyJob):
        budgets = [configuration.budget_s for configuration in job.configurations]
        gaps = [configuration.gap_ms / 1000 for configuration in job.configurations if configuration.mode == "paced"]
        return max(budgets, default=0.0) + _PACED_CALLS * max(gaps, default=0.0)
    if isinstance(job, EnergyJob):
        return 2 * (job.least_ns + job.settle_ns) / 1e9 + _UPDATE_S * job.least_updates
    return job.budget_ns / 1e9 if isinstance(job, OfflineJob) else 0.0


def _bytes(path: Path) -> int:
    """Return the bytes of a model's file and of the files beside it that begin with its name."""
    try:
        return sum(file.stat().st_size for file in path.parent.glob(f"{glob.escape(path.name)}*"))
    except OSError:
        return 0
