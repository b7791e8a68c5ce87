"""ResNets: He et al. 2016 (arXiv:1512.03385), for small images (section 4.2) and for ImageNet (table 1).

Small images, depth 6n+2: where the size changes, the shortcut is a projection, as in chenyaofo's and RepDistiller's
networks, or the paper's option A, which subsamples, pads channels with zeros and has no parameters. resnet20 with 10
classes at 3×32×32 has 272 474 parameters and 40 813 184 MACs, with option A 269 722 and 40 551 040.

ImageNet: as in torchvision, a bottleneck has its stride in the 3×3 convolution: resnet50 with 1000 classes at 3×224×224
has 25 557 032 parameters and 4 089 184 256 MACs. `residual` is the same by blocks per stage.

Wide ResNets: Zagoruyko & Komodakis 2016 (arXiv:1605.07146), pre-activation, depth 6n+4, then the widening factor. With
10 classes, wrn40-2 has 2 243 546 parameters and wrn28-10 has 36 479 194 (2.2 M and 36.5 M in the paper's tables 4, 5).
"""

import re
from functools import partial
from typing import Annotated, Literal

import torch.nn.functional as F  # noqa: N812 - as torch's own documentation calls it
from pydantic import Field
from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.models import MODELS, Factor, InputShape, PositiveInt, Share
from kdbench.models.staged import Staged, conv_bn, conv_bn_relu, pooled_linear, scaled, stage

Shortcut = Literal["projection", "pad"]


class PadShortcut(nn.Module):
    """Option A of the paper: subsampling by `stride`, and zeros for the new channels, half of them before."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def _shortcut(inputs: int, outputs: int, stride: int, kind: Shortcut = "projection") -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if kind == "pad":
        return PadShortcut(inputs, outputs, stride)
    return nn.Sequential(*conv_bn(inputs, outputs, 1, stride))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, ReLU after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut = "projection") -> None:
        super().__init__()
        self.conv1 = conv_bn_relu(inputs, outputs, 3, stride)
        self.conv2 = nn.Sequential(*conv_bn(outputs, outputs, 3))
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = _shortcut(inputs, outputs, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.relu(self.conv2(self.conv1(x)) + self.shortcut(x))
        return y


def _network(
    input_shape: InputShape, classes: int, depth: int, widths: tuple[int, int, int, int], shortcut: Shortcut
) -> Staged:
    per_stage, rest = divmod(depth - 2, 6)
    if rest or per_stage < 1:
        nearest = 6 * max(1, round((depth - 2) / 6)) + 2
        raise InputError(f"a ResNet for small images has 6n+2 layers, not {depth}", f"the nearest is resnet{nearest}")
    stem, *stages = widths
    block = partial(BasicBlock, shortcut=shortcut)
    sizes = zip(widths, stages, (1, 2, 2), strict=False)
    blocks = [stage(block, before, after, stride, per_stage) for before, after, stride in sizes]
    return Staged(conv_bn_relu(input_shape[0], stem, 3), blocks, pooled_linear(stages[-1], classes))


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


# The depths in the literature, so that they are listed and suggested by name.
for _depth in (8, 14, 32, 44, 56, 110):
    MODELS.register(f"resnet{_depth}")(resnet)
MODELS.register("resnet32x4")(resnet_x4)


Block = Literal["basic", "bottleneck"]
Stem = Literal["imagenet", "cifar"]
StemStride = Literal[1, 2, 4]
BlocksPerStage = Annotated[tuple[Annotated[int, Field(ge=0, le=1000)], ...], Field(min_length=1, max_length=8)]

IMAGENET: dict[str, tuple[Block, tuple[int, ...]]] = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolution and a projection shortcut; the output is four times as wide as the middle."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = outputs // 4
        self.conv1 = conv_bn_relu(inputs, middle, 1)
        self.conv2 = conv_bn_relu(middle, middle, 3, stride)
        self.conv3 = nn.Sequential(*conv_bn(middle, outputs, 1))
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.relu(self.conv3(self.conv2(self.conv1(x))) + self.shortcut(x))
        return y


def _stem(kind: Stem, stride: StemStride | None, inputs: int, outputs: int) -> nn.Module:
    """Return 7×7 convolution, then max pooling at stride 4 (`imagenet`); or a 3×3 convolution (`cifar`)."""
    if kind == "cifar":
        return conv_bn_relu(inputs, outputs, 3, stride or 1)
    if stride is None or stride == 4:
        return nn.Sequential(conv_bn_relu(inputs, outputs, 7, 2), nn.MaxPool2d(3, stride=2, padding=1))
    return conv_bn_relu(inputs, outputs, 7, stride)


@MODELS.register("residual")
def residual(
    _name: str,
    input_shape: InputShape,
    classes: PositiveInt,
    /,
    *,
    block: Block = "basic",
    blocks: BlocksPerStage = (2, 2, 2, 2),
    stem: Stem = "cifar",
    stem_stride: StemStride | None = None,
    width: Factor = 1.0,
) -> nn.Module:
    """Build a residual network with `blocks` per stage, of 64, 128, 256, … channels times `width`.

    Stages after the first halve the size; a stage of 0 blocks is left out. `stem_stride` is the stride of the
    whole stem: 1 by default with `cifar` (3×3 convolution), 4 with `imagenet` (7×7 convolution and max pooling).
    """
    if not any(blocks):
        raise InputError("residual: every stage is empty", "give at least one stage a block, as in [1, 1, 0, 0]")
    make, expansion = {"basic": (BasicBlock, 1), "bottleneck": (Bottleneck, 4)}[block]
    inputs = scaled(64, width)
    first = _stem(stem, stem_stride, input_shape[0], inputs)
    stages = []
    for index, count in enumerate(blocks):
        if count:  # an empty stage neither halves nor widens
            outputs = expansion * scaled(64 * 2**index, width)
            stages.append(stage(make, inputs, outputs, 1 if index == 0 else 2, count))
            inputs = outputs
    return Staged(first, stages, pooled_linear(inputs, classes))


def imagenet_resnet(
    name: str,
    input_shape: InputShape,
    classes: PositiveInt,
    /,
    *,
    stem: Stem = "imagenet",
    stem_stride: StemStride | None = None,
    width: Factor = 1.0,
) -> nn.Module:
    """Build the ResNet of table 1 called `name`; `stem="cifar"` adapts it to small images."""
    block, blocks = IMAGENET[name]
    return residual(
        name, input_shape, classes, block=block, blocks=blocks, stem=stem, stem_stride=stem_stride, width=width
    )


for _known in IMAGENET:
    MODELS.register(_known)(imagenet_resnet)


WIDE_NAME = r"wrn[-_]?(\d{1,4})[-_](\d{1,3})"


class PreActivationBlock(nn.Module):
    """Batch norm and ReLU before each 3×3 convolution; a 1×1 projection where the width changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        self.convs = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.project = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        activated = self.activate(x)
        y: Tensor = self.convs(activated) + (x if self.project is None else self.project(activated))
        return y


@MODELS.register_pattern(WIDE_NAME, example="wrn40-2")
def wide_resnet(name: str, input_shape: InputShape, classes: PositiveInt, /, *, dropout: Share = 0.0) -> nn.Module:
    """Build the Wide ResNet with the depth and widening factor in the name; `dropout` is between convolutions."""
    match = re.fullmatch(WIDE_NAME, name)
    assert match, f"{name!r} does not match the pattern"
    depth, factor = int(match[1]), int(match[2])
    per_stage, rest = divmod(depth - 4, 6)
    if rest or per_stage < 1 or factor < 1:
        nearest = 6 * max(1, round((depth - 4) / 6)) + 4
        message = f"a Wide ResNet has 6n+4 layers and a factor of 1 or more, not {depth} and {factor}"
        raise InputError(message, f"the nearest is wrn{nearest}-{max(1, factor)}")
    widths = (16, 16 * factor, 32 * factor, 64 * factor)
    block = partial(PreActivationBlock, dropout=dropout)
    sizes = zip(widths, widths[1:], (1, 2, 2), strict=False)
    stages = [stage(block, before, after, stride, per_stage) for before, after, stride in sizes]
    head = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True), *pooled_linear(widths[-1], classes))
    return Staged(nn.Conv2d(input_shape[0], 16, 3, padding=1, bias=False), stages, head)


# The networks that the distillation literature compares.
for _known in ("wrn16-1", "wrn16-2", "wrn28-10", "wrn40-1"):
    MODELS.register(_known)(wide_resnet)
