"""Dense networks by their widths: `784-1200-1200-10` is the teacher of Hinton et al. 2015 (arXiv:1503.02531)."""

import math

from torch import nn

from kdbench.errors import InputError
from kdbench.models import MODELS, InputShape, PositiveInt, Share
from kdbench.models.staged import Staged


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
    """Build a dense ReLU network with the given hidden widths; none makes it linear."""
    return _dense(math.prod(input_shape), hidden, classes, dropout)


@MODELS.register_pattern(r"\d+(-\d+)+", example="784-1200-1200-10")
def dense_by_widths(name: str, input_shape: InputShape, classes: PositiveInt, /, *, dropout: Share = 0.0) -> nn.Module:
    """Build the dense ReLU network whose widths the name lists, from inputs to classes."""
    inputs, *hidden, outputs = (int(width) for width in name.split("-"))
    if min(inputs, *hidden, outputs) < 1:
        raise InputError(f"model {name!r}: a width is zero", "every width is at least 1")
    if (inputs, outputs) != (math.prod(input_shape), classes):
        fitting = "-".join(str(width) for width in (math.prod(input_shape), *hidden, classes))
        shape = "x".join(str(size) for size in input_shape)
        raise InputError(
            f"model {name!r} does not fit inputs of {shape} with {classes} classes", f"that would be {fitting!r}"
        )
    return _dense(inputs, tuple(hidden), classes, dropout)
