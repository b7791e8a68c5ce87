"""ResNets for small images: He et al. 2016 (arXiv:1512.03385), section 4.2, depth 6n+2.

Where the size changes, the shortcut is a projection, as in chenyaofo's and RepDistiller's networks, or the
paper's option A, which skips cells and pads channels with zeros and has no parameters. resnet20 with 10 classes
at 3×32×32: 272 474 parameters and 40 813 184 MACs, or 269 722 and 40 551 040.
"""

from typing import Literal

import torch.nn.functional as F  # noqa: N812 - as torch's own documentation calls it
from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.models import MODELS, InputShape, PositiveInt
from kdbench.models.staged import Staged, conv_bn, conv_bn_relu, pooled_linear

Shortcut = Literal["projection", "pad"]


class PadShortcut(nn.Module):
    """Option A of the paper: every `stride`-th cell, zeros for the new channels, half of them before."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, ReLU after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut = "projection") -> None:
        super().__init__()
        self.conv1 = conv_bn_relu(inputs, outputs, 3, stride)
        self.conv2 = nn.Sequential(*conv_bn(outputs, outputs, 3))
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = (
                PadShortcut(inputs, outputs, stride)
                if shortcut == "pad"
                else nn.Sequential(*conv_bn(inputs, outputs, 1, stride))
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.relu(self.conv2(self.conv1(x)) + self.shortcut(x))
        return y


def _network(
    input_shape: InputShape, classes: int, depth: int, widths: tuple[int, int, int, int], shortcut: Shortcut
) -> Staged:
    per_stage, rest = divmod(depth - 2, 6)
    if rest or per_stage < 1:
        fitting = 6 * max(1, round((depth - 2) / 6)) + 2
        raise InputError(f"a ResNet for small images has 6n+2 layers, not {depth}", f"the nearest is resnet{fitting}")
    stem, *stages = widths
    blocks, inputs = [], stem
    for index, outputs in enumerate(stages):
        strides = [1 if index == 0 else 2] + [1] * (per_stage - 1)
        blocks.append(
            nn.Sequential(
                *(
                    BasicBlock(inputs if i == 0 else outputs, outputs, stride, shortcut)
                    for i, stride in enumerate(strides)
                )
            )
        )
        inputs = outputs
    return Staged(conv_bn_relu(input_shape[0], stem, 3), blocks, pooled_linear(inputs, classes))


@MODELS.register_pattern(r"resnet\d{1,4}", example="resnet20")
def resnet(
    name: str, input_shape: InputShape, classes: PositiveInt, /, *, shortcut: Shortcut = "projection"
) -> nn.Module:
    """Build the 6n+2-layer ResNet whose depth the name ends in: stages of 16, 32 and 64 channels."""
    return _network(input_shape, classes, int(name.removeprefix("resnet")), (16, 16, 32, 64), shortcut)


@MODELS.register_pattern(r"resnet\d{1,4}x4", example="resnet8x4")
def resnet_x4(
    name: str, input_shape: InputShape, classes: PositiveInt, /, *, shortcut: Shortcut = "projection"
) -> nn.Module:
    """Build RepDistiller's wide variant: a stem of 32 and stages of 64, 128 and 256 channels."""
    depth = int(name.removeprefix("resnet").removesuffix("x4"))
    return _network(input_shape, classes, depth, (32, 64, 128, 256), shortcut)


# The depths of the literature, so that they are listed and suggested by name.
for _depth in (8, 14, 32, 44, 56, 110):
    MODELS.register(f"resnet{_depth}")(resnet)
MODELS.register("resnet32x4")(resnet_x4)
