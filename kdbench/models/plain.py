"""Plain networks of any widths: dense, and convolutional networks small enough for 8×8 digits.

`784-1200-1200-10` is the teacher of Hinton et al. 2015 (arXiv:1503.02531).
"""

import math

from torch import nn

from kdbench.errors import InputError
from kdbench.models import MODELS, InputShape, PositiveInt, Share, Widths
from kdbench.models.staged import Staged, conv_bn_relu, pooled_linear


def _dense(inputs: int, hidden: tuple[int, ...], classes: int, dropout: float) -> Staged:
    blocks = []
    for width in hidden:
        drop = [nn.Dropout(dropout)] if dropout else []
        blocks.append(nn.Sequential(nn.Linear(inputs, width), nn.ReLU(inplace=True), *drop))
        inputs = width
    return Staged(nn.Flatten(), blocks, nn.Linear(inputs, classes))


@MODELS.register("dense")
def dense(
    _name: str,
    input_shape: InputShape,
    classes: PositiveInt,
    /,
    *,
    hidden: tuple[PositiveInt, ...] = (1200, 1200),
    dropout: Share = 0.0,
) -> nn.Module:
    """Build a dense ReLU network with these hidden widths; with none it is linear."""
    return _dense(math.prod(input_shape), hidden, classes, dropout)


@MODELS.register_pattern(r"\d+(-\d+)+", example="784-1200-1200-10")
def dense_by_widths(name: str, input_shape: InputShape, classes: PositiveInt, /, *, dropout: Share = 0.0) -> nn.Module:
    """Build the dense ReLU network whose widths the name lists, from inputs to classes."""
    inputs, *hidden, outputs = (int(width) for width in name.split("-"))
    if min(inputs, *hidden, outputs) < 1:
        raise InputError(f"model {name!r}: a width is zero", "every width must be at least 1")
    if (inputs, outputs) != (math.prod(input_shape), classes):
        correct = "-".join(str(width) for width in (math.prod(input_shape), *hidden, classes))
        shape = "x".join(str(size) for size in input_shape)
        raise InputError(f"model {name!r} does not fit inputs of {shape} with {classes} classes", f"use {correct!r}")
    return _dense(inputs, tuple(hidden), classes, dropout)


@MODELS.register("convnet")
def convnet(
    _name: str,
    input_shape: InputShape,
    classes: PositiveInt,
    /,
    *,
    widths: Widths = (32, 64, 128),
    strides: tuple[PositiveInt, ...] | None = None,
) -> nn.Module:
    """Build 3×3 convolutions with batch norm and ReLU, one per width; global average pooling; a linear head.

    `strides` has one entry per width; by default the first is 1 and the others 2.
    """
    if strides is None:
        strides = (1,) + (2,) * (len(widths) - 1)
    if len(strides) != len(widths):
        raise InputError(
            f"convnet: {len(widths)} widths but {len(strides)} strides", "give one stride per width, or none"
        )
    inputs = (input_shape[0], *widths)
    blocks = [
        conv_bn_relu(before, after, 3, stride) for before, after, stride in zip(inputs, widths, strides, strict=False)
    ]
    return Staged(nn.Identity(), blocks, pooled_linear(widths[-1], classes))
