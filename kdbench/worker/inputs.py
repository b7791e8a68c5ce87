"""Preparing a model's inputs from images and other samples. numpy only, because it runs in the measuring process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.worker.jobs import JobModel

Images = NDArray[Any]  # uint8 or float32; other samples are float32 or int64

CHUNK_BYTES = 512 << 20  # prepared inputs held at once
_BLOCK_SAMPLES = 256  # looked up together, so that they are still in cache for the next channel
_CHUNK_SAMPLES = 1024  # chunks are multiples of this, so that only the very last batch is short


def prepare(images: Images, model: JobModel) -> NDArray[np.generic]:
    """Return `images` (n, C, H, W) as inputs (n, *model.shape) of the model's type and layout.

    A uint8 pixel has 256 possible values, so each channel is a table look-up. Samples that are not images have layout
    "array".
    """
    if model.layout == "array":
        return _prepare_array(images, model)
    n, channels, height, width = images.shape
    dtype = np.dtype(model.dtype)
    last = model.layout == "NHWC"
    out = np.empty((n, height, width, channels) if last else (n, channels, height, width), dtype)
    planes = np.moveaxis(out, -1, 1) if last else out
    sources = range(channels)[::-1] if model.channel_order == "BGR" else range(channels)
    means, stds = (values * (channels if len(values) == 1 else 1) for values in (model.mean, model.std))
    normalisations = list(zip(means, stds))
    tables = [_input_values(np.arange(256), *normalisation, model) for normalisation in normalisations]
    for start in range(0, n, _BLOCK_SAMPLES):
        block = slice(start, start + _BLOCK_SAMPLES)
        for channel, source in enumerate(sources):
            if images.dtype == np.uint8:
                # "clip" writes straight into `out`; no pixel is beyond the table.
                np.take(tables[channel], images[block, source], out=planes[block, channel], mode="clip")
            else:
                planes[block, channel] = _input_values(images[block, source], *normalisations[channel], model)
    return out.reshape(n, *model.shape)


def _prepare_array(samples: Images, model: JobModel) -> NDArray[np.generic]:
    """Return samples (n, …) normalised along their channel axis, with the same arithmetic as in training."""
    if samples.dtype == np.int64:
        return samples.astype(model.dtype).reshape(len(samples), *model.shape)
    along = [1] * samples.ndim
    along[model.channel_axis] = -1
    dtype = np.float64 if np.dtype(model.dtype).itemsize == 8 else np.float32
    means, stds = (np.asarray(values, dtype).reshape(along) for values in (model.mean, model.std))
    return _input_values(samples, means, stds, model).reshape(len(samples), *model.shape)


def batch_inputs(model: JobModel, batch: int) -> NDArray[np.generic]:
    """Return one batch of the model's prepared inputs; only the images of this batch are read into memory."""
    images = np.load(model.images, mmap_mode="r")
    return prepare(images[np.arange(batch) % len(images)], model)


class Inputs:
    """The prepared inputs of a set of images, shared by models with the same preparation.

    A set that fits into CHUNK_BYTES is prepared once and kept. A larger set is prepared in chunks each time, each while
    the previous one is in use, so that at most two are in memory.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._kept: list[NDArray[np.generic]] = []

    def of(self, images: Images, model: JobModel) -> Iterable[NDArray[np.generic]]:
        """Return the chunks of prepared inputs of `images` for `model`."""
        size = max(CHUNK_BYTES // sample_bytes(model) // _CHUNK_SAMPLES, 1) * _CHUNK_SAMPLES
        if size < len(images):
            return _overlapped(images, model, size)
        if self._key != model.preparation:
            self._kept = []  # free the previous inputs before preparing the next
            self._kept, self._key = [prepare(images, model)], model.preparation
        return self._kept


def filled_shape(declared: Iterable[object], batch: int) -> list[int]:
    """Return a declared shape with its open dimensions filled: the first with the batch, others with 1."""
    return [size if isinstance(size, int) else 1 if axis else batch for axis, size in enumerate(declared)]


def sample_bytes(model: JobModel) -> int:
    """Return the size of one prepared sample."""
    return math.prod(model.shape) * np.dtype(model.dtype).itemsize


def _overlapped(images: Images, model: JobModel, size: int) -> Iterator[NDArray[np.generic]]:
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(prepare, images[:size], model)
        for start in range(size, len(images), size):
            ready = pending.result()
            pending = pool.submit(prepare, images[start : start + size], model)
            yield ready
        yield pending.result()


def _input_values(
    pixels: NDArray[Any], mean: float | NDArray[Any], std: float | NDArray[Any], model: JobModel
) -> NDArray[np.generic]:
    """Return the model's input for the values of one channel, or of all if mean and std are arrays."""
    dtype = np.dtype(model.dtype)
    is_integer = np.issubdtype(dtype, np.integer)
    if is_integer and model.quantization is None:
        return pixels.astype(dtype)
    # In float32, as image pipelines compute, and rounded to float16 afterwards.
    scaled = pixels.astype("float64" if dtype.itemsize == 8 else "float32") / model.scale
    values = (scaled - mean) / std
    if not is_integer:
        return values.astype(dtype)
    scale, zero_point = model.quantization or (1.0, 0)
    limits = np.iinfo(dtype)
    quantized = np.rint(values / np.float32(scale)) + zero_point
    inputs: NDArray[np.generic] = np.clip(quantized, limits.min, limits.max).astype(dtype)
    return inputs
