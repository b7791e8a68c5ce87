"""Inputs on which a user's torch network is tried: samples of the data as the network takes them, or noise."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import InputError
from kdbench.results.preprocessing import InputSpec, geometry_of
from kdbench.workflows.files.images import TestImages

if TYPE_CHECKING:
    import torch
    from torch import nn

PARITY_SAMPLES = 64
SEED = 0


def samples_of(id_: str, network: "nn.Module", spec: InputSpec, images: TestImages | None) -> "torch.Tensor":
    """Return some inputs of a network: normalised images (n, C, H, W), other samples, or noise without data.

    `id_` is its name in messages. Raises InputError if the size of its inputs is not known.
    """
    import torch
    from torch import nn

    first = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)), None)
    channels = first.in_channels if isinstance(first, nn.Conv2d) else None
    geometry = geometry_of(spec, (None, None), channels, id_)
    generator = np.random.default_rng(SEED)
    if images is not None:
        dataset = images.load(geometry, spec.data_layout)
        assert dataset.test is not None, "loaders return the requested parts or raise"
        stored = dataset.test.inputs[:PARITY_SAMPLES]
        if spec.data_layout is not None or dataset.layout == "tokens":
            return torch.from_numpy(_normalised(stored, spec, dataset.channel_axis, scale=1))
        pixels = stored.astype(np.float32)
    elif spec.size is not None or geometry.crop is not None:
        sides = spec.size or geometry.crop
        assert sides is not None
        pixels = generator.integers(0, 256, (PARITY_SAMPLES, channels or 3, *sides)).astype(np.float32)
    elif isinstance(first, nn.Linear):
        return torch.from_numpy(generator.random((PARITY_SAMPLES, first.in_features), dtype=np.float32))
    else:
        raise InputError(f"the input size of {id_} is not known", "give it: --size 224, or real data with --data")
    return torch.from_numpy(_normalised(pixels, spec, 1, scale=255))


def _normalised(stored: NDArray[Any], spec: InputSpec, channel_axis: int, *, scale: float) -> NDArray[Any]:
    """Return inputs normalised along their channel axis, by default with `scale`; token ids stay as they are."""
    if stored.dtype == np.int64:
        return stored
    shape = [1] * stored.ndim
    shape[channel_axis] = -1
    mean, std = (np.array(values, np.float32) for values in (spec.mean or (0.0,), spec.std or (1.0,)))
    if len(mean) not in {1, stored.shape[channel_axis]} or len(std) not in {1, stored.shape[channel_axis]}:
        mean, std = mean[:1], std[:1]  # the harness refuses these lengths and says why
    scaled = stored.astype(np.float32) / np.float32(spec.scale or scale)
    return np.asarray((scaled - mean.reshape(shape)) / std.reshape(shape), np.float32)


def layouts_of(samples: "torch.Tensor", spec: InputSpec) -> "list[torch.Tensor]":
    """Return the inputs in each layout that the network may take (images or rows); `spec` may decide."""
    if samples.dim() != 4:
        return [samples]
    layouts = {"NCHW": samples, "flat": samples.flatten(1), "NHWC": samples.permute(0, 2, 3, 1).contiguous()}
    return [layouts[spec.layout]] if spec.layout else [layouts["NCHW"], layouts["flat"]]
