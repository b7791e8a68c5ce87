"""The logits of whole data sets, from which accuracy and fidelity are computed.

Result: `batches` (id to batch size) and `errors` (id to reason). If the process dies, the files of the models that ran
before stay.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.worker.channel import Channel
from kdbench.worker.faults import describe
from kdbench.worker.inputs import Inputs, sample_bytes
from kdbench.worker.jobs import JobModel, LogitsJob
from kdbench.worker.runtimes import runtime

# Large enough to hide the cost of a call, small enough for activations to stay in cache.
_BATCH_BYTES = 8 << 20
_LARGEST_BATCH = 128
_MAX_CLASSES = 100_000


def batch_size(model: JobModel) -> int:
    """Return how many samples are evaluated in one call: the fixed batch, or what `_BATCH_BYTES` of inputs hold."""
    if model.fixed_batch is not None:
        return model.fixed_batch
    return min(max(_BATCH_BYTES // sample_bytes(model), 1), _LARGEST_BATCH)


def run(job: LogitsJob, channel: Channel) -> dict[str, Any]:
    """Evaluate every model of the job on its images; neighbours that take the same inputs share them."""
    chosen, inputs = runtime(job.runtime), Inputs()
    batches: dict[str, int] = {}
    errors: dict[str, str] = {}
    wanted = job.batches or (None,) * len(job.models)
    for number, (model, file, batch) in enumerate(zip(job.models, job.files, wanted)):
        channel.model(model.id)
        images = np.load(model.images, mmap_mode="r")
        batches[model.id] = batch or batch_size(model)
        channel.batch(batches[model.id])

        def step(done: int, before: int = number * len(images), total: int = len(job.models) * len(images)) -> None:
            channel.step(before + done, total)

        try:
            loaded = chosen.load(model, provider=job.provider, threads=job.threads, spinning=False)  # untimed
            outputs = evaluate(loaded, inputs.of(images, model), model.fixed_batch, batches[model.id], step)
            logits = class_scores(outputs, model)
        except chosen.faults as error:
            errors[model.id] = describe(error)
        else:
            _save(Path(file), logits)
    return {"batches": batches, "errors": errors}


def _save(file: Path, logits: NDArray[np.generic]) -> None:
    partial = file.with_suffix(".part")
    try:
        with partial.open("wb") as stream:
            np.save(stream, logits)
    except OSError as error:  # numpy's own says how many values were written, but not why
        code = error.errno or errno.ENOSPC
        raise OSError(code, os.strerror(code), str(file)) from error
    partial.replace(file)


def evaluate(
    model: Callable[[NDArray[np.generic]], NDArray[np.generic]],
    inputs: Iterable[NDArray[np.generic]],
    fixed_batch: int | None,
    batch: int,
    step: Callable[[int], None],
) -> NDArray[np.generic]:
    """Return the outputs (N, values) of `inputs`, chunks of prepared samples, `batch` samples a call.

    For a model of fixed batch the last batch is filled up with zeros. Raises ValueError for an output that is not
    one row a sample.
    """
    parts = []
    done = 0
    for chunk in inputs:
        for start in range(0, len(chunk), batch):
            samples = chunk[start : start + batch]
            n = len(samples)
            if fixed_batch is not None and n < fixed_batch:
                samples = np.concatenate([samples, np.zeros_like(samples, shape=(fixed_batch - n, *samples.shape[1:]))])
            rows = _rows(model(samples), len(samples))
            if fixed_batch is None and rows.shape[1] == n > 1:  # as many classes as samples: is it turned?
                _rows(model(samples[1:]), n - 1)
            parts.append(rows[:n])
            done += n
            step(done)
    return np.concatenate(parts)


def class_scores(outputs: NDArray[np.generic], model: JobModel) -> NDArray[np.generic]:
    """Return one score per class (N, classes) for a model's `outputs` (N, values): logits, or what they hold instead.

    A class's number becomes a one-hot row, a ranking a row that falls from the best class on. One value for two classes
    becomes its logit beside 0, or its probability beside the other one's; a decision becomes a one-hot row. The number
    of values may differ from the declared one, or be open in the file.
    """
    if model.form in {"class", "ranking"}:
        return _scores_of_numbers(outputs.astype(np.int64))
    if model.output_scale is not None:
        scale, zero_point = model.output_scale
        outputs = ((outputs.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)
    if outputs.shape[1] == 1 and model.form != "numbers":
        return _of_two_classes(outputs, model.form)
    return outputs


def _of_two_classes(values: NDArray[Any], form: str) -> NDArray[np.generic]:
    """Return the scores (N, 2) of two classes for one value a sample (N, 1), which `form` calls a logit or otherwise.

    Logits lie on both sides of 0. Values from 0 to 1 are probabilities, and -1 and 1 are decisions, for any operator.
    """
    if form in {"binary_logit", "logits"} and np.isin(values, (-1, 0, 1)).all():
        return np.concatenate([values <= 0, values > 0], axis=1).astype(np.float32)
    if form in {"binary_probability", "binary_rounded_probability"} or (
        form != "binary_score" and ((values >= 0) & (values <= 1)).all()
    ):
        return np.concatenate([1 - values, values], axis=1)
    return np.concatenate([np.zeros_like(values), values], axis=1)


def _scores_of_numbers(numbers: NDArray[np.int64]) -> NDArray[np.generic]:
    """Return falling scores (N, classes) of the classes in each row of `numbers` (N, k), 0 for the others."""
    for number in (int(numbers.min()), int(numbers.max())):
        if not 0 <= number < _MAX_CLASSES:
            raise ValueError(f"the output holds {number}, which is not the number of a class")
    scores = np.zeros((len(numbers), int(numbers.max()) + 1), np.float32)
    falling = np.broadcast_to(np.arange(numbers.shape[1], 0, -1, dtype=np.float32), numbers.shape)
    np.put_along_axis(scores, numbers, falling, axis=1)
    return scores


def _rows(output: NDArray[np.generic], samples: int) -> NDArray[np.generic]:
    """Return one row a sample of an output (N,), (N, values), or with further axes of one element."""
    if output.ndim == 0 or len(output) != samples or sum(size > 1 for size in output.shape[1:]) > 1:
        raise ValueError(f"the output for {samples} inputs has shape {output.shape}, not ({samples}, classes)")
    return output.reshape(samples, -1)
