"""At which batches a model runs, and whether its outputs for the same images are equal there.

Result: `running` (id to the batches at which the model runs), `errors` (id to batch to reason) and `differing` (id to
batch to the number of samples whose output differs from that at the smallest batch at which the model runs).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.worker.channel import Channel
from kdbench.worker.faults import describe
from kdbench.worker.inputs import prepare
from kdbench.worker.jobs import BatchesJob, JobModel
from kdbench.worker.probes.logits import batch_size, class_scores, evaluate
from kdbench.worker.runtimes.onnxruntime import FAULTS, LoadedModel

# Of the largest score. Kernels for other batches add in another order, which single precision shows in the sixth digit
# and half precision in the third; dynamic quantization changes the third digit too, and is meant to be found.
_TOLERANCE = 1e-3


def run(job: BatchesJob, channel: Channel) -> dict[str, Any]:
    """Call every model of the job at each batch; a fixed batch is not tried."""
    errors: dict[str, dict[int, str]] = {}
    differing: dict[str, dict[int, int]] = {}
    running: dict[str, list[int]] = {}
    for number, model in enumerate(job.models):
        channel.model(model.id)
        channel.step(number, len(job.models))
        try:
            loaded = LoadedModel(model, provider=job.provider, threads=job.threads, spinning=False)  # untimed
        except FAULTS as error:
            errors[model.id] = dict.fromkeys(job.batches, describe(error))
            continue
        scores, errors[model.id] = _scores(loaded, model, job, channel)
        running[model.id] = sorted(scores)
        if scores:
            first = scores[min(scores)]
            counts = {batch: _differing(first, other) for batch, other in scores.items()}
            differing[model.id] = {batch: count for batch, count in counts.items() if count}
    return {"running": running, "errors": errors, "differing": differing}


def _scores(
    loaded: LoadedModel, model: JobModel, job: BatchesJob, channel: Channel
) -> tuple[dict[int, NDArray[np.generic]], dict[int, str]]:
    """Return the scores (samples, classes) at each batch at which the model runs, and why it does not at others."""
    images = np.load(model.images, mmap_mode="r")
    scores: dict[int, NDArray[np.generic]] = {}
    errors: dict[int, str] = {}
    for batch in sorted({*job.batches, *([batch_size(model)] if job.samples > 1 else [])}):
        channel.batch(batch)
        count = max(batch, job.samples)
        inputs = prepare(images[np.arange(count) % len(images)], model)
        try:
            outputs = evaluate(loaded, [inputs], batch, batch, lambda _: None)
            scores[batch] = class_scores(outputs[: job.samples], model)
        except FAULTS as error:
            errors[batch] = describe(error)
    return scores, errors


def _differing(first: NDArray[np.generic], other: NDArray[np.generic]) -> int:
    """Return for how many samples the best class differs, or any score by more than rounding."""
    one, two = first.astype(np.float64), other.astype(np.float64)
    best = one.argmax(axis=1) != two.argmax(axis=1)
    if one.shape != two.shape:  # rows of classes' numbers are as long as the largest number
        return int(best.sum())
    finite = np.abs(one)[np.isfinite(one)]
    far = np.abs(one - two) > _TOLERANCE * (finite.max() if finite.size else 0.0)  # NaN is not a difference
    return int((best | far.any(axis=1)).sum())
