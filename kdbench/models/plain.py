"""Plain networks: dense, convolutional for 8×8 digits, LeNet-5, the two of the Keras tutorial, and VGGs.

`784-1200-1200-10` is the teacher of Hinton et al. 2015 (arXiv:1503.02531).

The Keras tutorial (keras.io/examples/vision/knowledge_distillation): convolution, LeakyReLU 0.2, 2×2 max pooling with
stride 1, convolution, dense; both convolutions 3×3 with stride 2 and TensorFlow's "same" padding, which adds an odd row
and column after the image, while torch pads both sides. At 1×28×28 with 10 classes the teacher has 1 433 610 parameters
and the student 20 490.

VGG with batch norm for small images: Simonyan & Zisserman 2015 (arXiv:1409.1556). Trunk and head (512→512→512→classes)
follow chenyaofo/pytorch-cifar-models: with 100 classes at 3×32×32, vgg11_bn has 9 802 596 parameters and 153 339 904
MACs. vgg8_bn is RepDistiller's vgg8 trunk.
"""

import itertools
import math

from torch import nn

from kdbench.errors import InputError
from kdbench.models import MAX_WIDTH, MODELS, Count, Factor, Hidden, InputShape, PositiveInt, SampleShape, Share, Widths
from kdbench.models.staged import Staged, conv_bn_relu, pooled_linear, scaled

_DIGITS = 9  # of a size in a name
_SHOWN = 60  # characters of a name
_LENET_PIXELS = 12  # after which one cell is left


@MODELS.register("dense")
def dense(
    _name: str,
    input_shape: SampleShape,
    classes: PositiveInt,
    /,
    *,
    hidden: Hidden = (1200, 1200),
    dropout: Share = 0.0,
) -> nn.Module:
    """Build a dense ReLU network with the widths `hidden`; without any it is linear."""
    inputs, blocks = math.prod(input_shape), []
    for width in hidden:
        drop = [nn.Dropout(dropout)] if dropout else []
        blocks.append(nn.Sequential(nn.Linear(inputs, width), nn.ReLU(inplace=True), *drop))
        inputs = width
    return Staged(nn.Flatten(), blocks, nn.Linear(inputs, classes))


@MODELS.register("linear")
def linear(name: str, input_shape: tuple[PositiveInt, ...], classes: PositiveInt, /) -> nn.Module:
    """Build one affine layer: linear or, with classes, logistic regression."""
    return dense(name, input_shape, classes, hidden=())  # it flattens any shape


@MODELS.register_pattern(r"\d+(-\d+)+", example="784-1200-1200-10")
def dense_by_widths(name: str, input_shape: SampleShape, classes: PositiveInt, /, *, dropout: Share = 0.0) -> nn.Module:
    """Build the dense ReLU network whose widths the name lists, from inputs to classes."""
    sizes = name.split("-")
    if max(map(len, sizes)) > _DIGITS or max(map(int, sizes[1:-1]), default=0) > MAX_WIDTH:
        raise InputError(f"model {name[:_SHOWN]!r}: a width is above {MAX_WIDTH:,}", "choose smaller widths")
    inputs, *hidden, outputs = map(int, sizes)
    if min(inputs, *hidden, outputs) < 1:
        raise InputError(f"model {name!r}: a width is zero", "every width must be at least 1")
    if (inputs, outputs) != (math.prod(input_shape), classes):
        correct = "-".join(str(width) for width in (math.prod(input_shape), *hidden, classes))
        shape = "x".join(str(size) for size in input_shape)
        raise InputError(f"model {name!r} does not fit inputs of {shape} and {classes} outputs", f"use {correct!r}")
    return dense(name, input_shape, classes, hidden=tuple(hidden), dropout=dropout)


@MODELS.register("convnet")
def convnet(
    _name: str,
    input_shape: InputShape,
    classes: PositiveInt,
    /,
    *,
    widths: Widths = (32, 64, 128),
    strides: tuple[Count, ...] | None = None,
) -> nn.Module:
    """Build 3×3 convolutions with batch norm and ReLU, one per width; global average pooling; a linear head.

    `strides` has one entry per width; by default the first is 1 and the others 2.
    """
    if strides is None:
        strides = (1,) + (2,) * (len(widths) - 1)
    if len(strides) != len(widths):
        message = f"convnet: {len(widths)} widths but {len(strides)} strides"
        raise InputError(message, "give one stride per width, or none")
    sizes = zip((input_shape[0], *widths), widths, strides, strict=False)
    blocks = [conv_bn_relu(before, after, 3, stride) for before, after, stride in sizes]
    return Staged(nn.Identity(), blocks, pooled_linear(widths[-1], classes))


@MODELS.register("lenet5")
def lenet5(_name: str, input_shape: InputShape, classes: PositiveInt, /) -> nn.Module:
    """Build LeNet-5 with ReLU and max pooling: LeCun et al. 1998, figure 2.

    The first convolution pads images by 2, so that MNIST's 28×28 pixels fit; with 10 classes it has 61 706 parameters
    and 416 520 MACs. The original has learned pooling, a sparse second convolution and tanh.
    """
    channels, height, width = input_shape
    if min(height, width) < _LENET_PIXELS:
        message = f"lenet5: images of {height}×{width} are too small"
        raise InputError(message, f'use images of {_LENET_PIXELS}×{_LENET_PIXELS} or more, or model = "convnet"')
    sizes = ((channels, 6, 2), (6, 16, 0))
    blocks = [
        nn.Sequential(nn.Conv2d(before, after, 5, padding=padding), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        for before, after, padding in sizes
    ]
    cells = ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
    hidden = (nn.Linear(16 * cells, 120), nn.ReLU(inplace=True), nn.Linear(120, 84), nn.ReLU(inplace=True))
    return Staged(nn.Identity(), blocks, nn.Sequential(nn.Flatten(), *hidden, nn.Linear(84, classes)))


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many cells TensorFlow's "same" padding adds before and after an axis of `size` cells.

    The output has ceil(size / stride) cells, and an odd cell is added after (tensorflow.org/api_docs/python/tf/nn,
    "Notes on padding").
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _same_conv(inputs: int, outputs: int, height: int, width: int) -> list[nn.Module]:
    padding = (*same_padding(width, 3, 2), *same_padding(height, 3, 2))
    return [nn.ZeroPad2d(padding), nn.Conv2d(inputs, outputs, 3, stride=2)]


def _keras(input_shape: InputShape, classes: int, first: int, second: int) -> Staged:
    channels, height, width = input_shape
    halved = -(-height // 2), -(-width // 2)
    block1 = nn.Sequential(
        *_same_conv(channels, first, height, width),
        nn.LeakyReLU(0.2),
        # "same" max pooling ignores cells beyond the edge. Repeating the edge is equivalent, and needs no -inf.
        nn.ReplicationPad2d((0, 1, 0, 1)),
        nn.MaxPool2d(2, stride=1),
    )
    block2 = nn.Sequential(*_same_conv(first, second, *halved))
    cells = -(-halved[0] // 2) * -(-halved[1] // 2)
    network = Staged(nn.Identity(), [block1, block2], nn.Sequential(nn.Flatten(), nn.Linear(second * cells, classes)))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):  # Keras starts from Glorot's uniform distribution.
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


@MODELS.register("keras_teacher")
def keras_teacher(_name: str, input_shape: InputShape, classes: PositiveInt, /) -> nn.Module:
    """Build the tutorial's teacher: 256 and 512 channels."""
    return _keras(input_shape, classes, 256, 512)


@MODELS.register("keras_student")
def keras_student(_name: str, input_shape: InputShape, classes: PositiveInt, /) -> nn.Module:
    """Build the tutorial's student: 16 and 32 channels."""
    return _keras(input_shape, classes, 16, 32)


# Convolutions per block; every block ends in 2×2 max pooling.
VGG_DEPTHS = {
    "vgg8_bn": (1, 1, 1, 1, 1),
    "vgg11_bn": (1, 1, 2, 2, 2),
    "vgg13_bn": (2, 2, 2, 2, 2),
    "vgg16_bn": (2, 2, 3, 3, 3),
    "vgg19_bn": (2, 2, 4, 4, 4),
}
VGG_WIDTHS = (64, 128, 256, 512, 512)


def _vgg_block(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        inputs = outputs
    # Rounding up keeps even sizes as they are, and allows images that are not multiples of 32.
    return nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True))


def vgg(
    name: str,
    input_shape: InputShape,
    classes: PositiveInt,
    /,
    *,
    width: Factor = 1.0,
    head: Hidden | None = None,
    dropout: Share = 0.5,
) -> nn.Module:
    """Build the VGG called `name`.

    `width` multiplies the channels and, unless `head` names them, the hidden widths of the head: 512 and 512. The
    sub-students of a fused network are `vgg11_bn` with width 0.5, head [256] and 128 classes: 2 407 680 parameters.
    """
    widths = [scaled(full, width) for full in VGG_WIDTHS]
    hidden = (scaled(512, width),) * 2 if head is None else head
    sizes = zip((input_shape[0], *widths), widths, VGG_DEPTHS[name], strict=False)
    blocks = [_vgg_block(before, after, depth) for before, after, depth in sizes]
    cells = -(-input_shape[1] // 32) * -(-input_shape[2] // 32)
    # The trunk reduces a 32×32 image to one cell, so a pooling layer would only add to some conventions' MACs.
    layers: list[nn.Module] = [nn.Identity() if cells == 1 else nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    for before, after in itertools.pairwise((widths[-1], *hidden)):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    layers.append(nn.Linear((widths[-1], *hidden)[-1], classes))
    network = Staged(nn.Identity(), blocks, nn.Sequential(*layers), linear_std=0.01)
    # Simonyan and Zisserman start every linear layer from N(0, 0.01²), which suits 4096 units. 512 units would shrink
    # the signal sixfold in each hidden layer, so that the first hundreds of steps learn nothing.
    for layer in layers[:-1]:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return network


for _known in VGG_DEPTHS:
    MODELS.register(_known)(vgg)
