"""VGG with batch norm for small images: Simonyan & Zisserman 2015 (arXiv:1409.1556) with a CIFAR-sized head.

Trunk and head (512→512→512→classes) follow chenyaofo/pytorch-cifar-models: with 100 classes at
3×32×32, vgg11_bn has 9 802 596 parameters and 153 339 904 MACs. vgg8_bn is RepDistiller's vgg8 trunk.
"""

import itertools

from torch import nn

from kdbench.models import MODELS, InputShape, PositiveFloat, PositiveInt, Share
from kdbench.models.staged import Staged, scaled

# Convolutions per block; every block ends in 2×2 max pooling.
DEPTHS = {
    "vgg8_bn": (1, 1, 1, 1, 1),
    "vgg11_bn": (1, 1, 2, 2, 2),
    "vgg13_bn": (2, 2, 2, 2, 2),
    "vgg16_bn": (2, 2, 3, 3, 3),
    "vgg19_bn": (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)


def _block(inputs: int, outputs: int, depth: int) -> nn.Sequential:
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
    width: PositiveFloat = 1.0,
    head: tuple[PositiveInt, ...] | None = None,
    dropout: Share = 0.5,
) -> nn.Module:
    """Build the VGG called `name`.

    `width` multiplies the channels and, unless `head` names them, the hidden widths of the head: 512 and 512.
    The sub-students of a fused network are `vgg11_bn` with width 0.5, head [256] and 128
    classes: 2 407 680 parameters.
    """
    widths = [scaled(full, width) for full in WIDTHS]
    hidden = (scaled(512, width),) * 2 if head is None else head
    sizes = zip((input_shape[0], *widths), widths, DEPTHS[name], strict=False)
    blocks = [_block(before, after, depth) for before, after, depth in sizes]
    cells = -(-input_shape[1] // 32) * -(-input_shape[2] // 32)
    # The trunk reduces a 32×32 image to one cell, so a pooling layer would only add to some conventions' MACs.
    layers: list[nn.Module] = [nn.Identity() if cells == 1 else nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    for before, after in itertools.pairwise((widths[-1], *hidden)):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    layers.append(nn.Linear((widths[-1], *hidden)[-1], classes))
    return Staged(nn.Identity(), blocks, nn.Sequential(*layers), linear_std=0.01)


for _known in DEPTHS:
    MODELS.register(_known)(vgg)
