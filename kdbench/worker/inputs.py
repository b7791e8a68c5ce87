"""From uint8 images to a model's inputs. numpy only: it runs in the measuring process."""

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from kdbench.worker.jobs import JobModel

CHUNK_BYTES = 512 << 20  # prepared inputs held at once
_BLOCK_SAMPLES = 256  # looked up together, so that they are still in cache for the next channel
_CHUNK_SAMPLES = 1024  # chunks are multiples of this, so that only the very last batch is short


def prepare(images: NDArray[np.uint8], model: JobModel) -> NDArray[np.generic]:
    """Return `images` (n, C, H, W) as inputs (n, *model.shape) of the model's type and layout.

    A uint8 model gets the pixels as they are. There are 256 pixel values, so each channel is a table look-up.
    """
    n, channels, height, width = images.shape
    dtype = np.dtype(model.dtype)
    last = model.layout == "NHWC"
    out = np.empty((n, height, width, channels) if last else (n, channels, height, width), dtype)
    planes = np.moveaxis(out, -1, 1) if last else out
    tables = _tables(model, channels, dtype)
    for start in range(0, n, _BLOCK_SAMPLES):
        block = slice(start, start + _BLOCK_SAMPLES)
        for channel, table in enumerate(tables):
            # "clip" writes straight into `out`; no pixel is beyond the table.
            np.take(table, images[block, channel], out=planes[block, channel], mode="clip")
    return out.reshape(n, *model.shape)


def batch_inputs(model: JobModel, batch: int) -> NDArray[np.generic]:
    """Return one batch of the model's prepared inputs; nothing else of its images stays in memory."""
    images = np.load(model.images, mmap_mode="r")
    return prepare(images[np.arange(batch) % len(images)], model)


class Inputs:
    """The prepared inputs of a set of images, shared by models that take the same ones.

    What fits into CHUNK_BYTES is prepared once and kept. A larger set is prepared in chunks each time, each while the
    one before is in use, so that at most two are in memory.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._kept: list[NDArray[np.generic]] = []

    def of(self, images: NDArray[np.uint8], model: JobModel) -> Iterable[NDArray[np.generic]]:
        """Return the chunks of prepared inputs of `images` for `model`."""
        size = max(CHUNK_BYTES // sample_bytes(model) // _CHUNK_SAMPLES, 1) * _CHUNK_SAMPLES
        if size < len(images):
            return _overlapped(images, model, size)
        if self._key != model.preparation:
            self._kept = []  # free the last inputs before the next are made
            self._kept, self._key = [prepare(images, model)], model.preparation
        return self._kept


def sample_bytes(model: JobModel) -> int:
    """Return the size of one prepared sample."""
    return math.prod(model.shape) * np.dtype(model.dtype).itemsize


def _overlapped(images: NDArray[np.uint8], model: JobModel, size: int) -> Iterator[NDArray[np.generic]]:
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(prepare, images[:size], model)
        for start in range(size, len(images), size):
            ready = pending.result()
            pending = pool.submit(prepare, images[start : start + size], model)
            yield ready
        yield pending.result()


def _tables(model: JobModel, channels: int, dtype: np.dtype[np.generic]) -> list[NDArray[np.generic]]:
    if dtype == np.uint8:
        return [np.arange(256, dtype=np.uint8)] * channels
    # Image pipelines compute in float32, so this does too, and rounds to float16 afterwards.
    scaled = np.arange(256).astype("float64" if dtype.itemsize == 8 else "float32") / model.scale
    means = model.mean * (channels if len(model.mean) == 1 else 1)
    stds = model.std * (channels if len(model.std) == 1 else 1)
    return [((scaled - mean) / std).astype(dtype) for mean, std in zip(means, stds, strict=True)]
