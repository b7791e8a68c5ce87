"""The logits of whole data sets, from which accuracy and fidelity are computed.

Result: `batches` (id to batch size) and `errors` (id to reason). If the process dies, the files of the models that ran
before stay.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.worker.__main__ import Channel
from kdbench.worker.inputs import Inputs, sample_bytes
from kdbench.worker.jobs import JobModel, LogitsJob
from kdbench.worker.runtimes import describe
from kdbench.worker.runtimes.onnxruntime import FAULTS, LoadedModel

# Large enough to hide the cost of a call, small enough for activations to stay in cache.
_BATCH_BYTES = 8 << 20
_LARGEST_BATCH = 128


def batch_size(model: JobModel) -> int:
    """Return how many samples are evaluated in one call: the fixed batch, or what `_BATCH_BYTES` of inputs hold."""
    if model.fixed_batch is not None:
        return model.fixed_batch
    return min(max(_BATCH_BYTES // sample_bytes(model), 1), _LARGEST_BATCH)


def run(job: LogitsJob, channel: Channel) -> dict[str, Any]:
    """Evaluate every model of the job on its images; neighbours that take the same inputs share them."""
    inputs = Inputs()
    batches: dict[str, int] = {}
    errors: dict[str, str] = {}
    for number, (model, file) in enumerate(zip(job.models, job.files, strict=True)):
        channel.model(model.id)
        images = np.load(model.images, mmap_mode="r")
        batches[model.id] = batch_size(model)

        def step(done: int, before: int = number * len(images), total: int = len(job.models) * len(images)) -> None:
            channel.step(before + done, total)

        try:
            loaded = LoadedModel(model, provider=job.provider, threads=job.threads)
            logits = evaluate(loaded, inputs.of(images, model), model.fixed_batch, batches[model.id], step)
            partial = Path(file).with_suffix(".part")
            with partial.open("wb") as stream:
                np.save(stream, logits)
            partial.replace(file)
        except FAULTS as error:
            errors[model.id] = describe(error)
    return {"batches": batches, "errors": errors}


def evaluate(
    model: Callable[[NDArray[np.generic]], NDArray[np.generic]],
    inputs: Iterable[NDArray[np.generic]],
    fixed_batch: int | None,
    batch: int,
    step: Callable[[int], None],
) -> NDArray[np.generic]:
    """Return the logits (N, classes) of `inputs`, chunks of prepared samples, `batch` samples a call.

    For a model of fixed batch the last batch is filled up with zeros. Raises ValueError for an output that is not
    one row of logits a sample.
    """
    parts = []
    done = 0
    for chunk in inputs:
        for start in range(0, len(chunk), batch):
            samples = chunk[start : start + batch]
            n = len(samples)
            if fixed_batch is not None and n < fixed_batch:
                samples = np.concatenate([samples, np.zeros_like(samples, shape=(fixed_batch - n, *samples.shape[1:]))])
            parts.append(_rows(model(samples), len(samples))[:n])
            done += n
            step(done)
    return np.concatenate(parts)


def _rows(output: NDArray[np.generic], samples: int) -> NDArray[np.generic]:
    if output.ndim == 4 and output.shape[2:] == (1, 1):
        output = output[:, :, 0, 0]
    if output.ndim != 2 or len(output) != samples:
        raise ValueError(f"the output for {samples} inputs has shape {output.shape}, not ({samples}, classes)")
    return output
