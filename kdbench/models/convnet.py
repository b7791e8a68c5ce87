"""A plain convolutional network of any widths: small enough for 8×8 digits, as teacher or as student."""

from torch import nn

from kdbench.errors import InputError
from kdbench.models import MODELS, InputShape, PositiveInt, Widths
from kdbench.models.staged import Staged, conv_bn_relu, pooled_linear


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
