"""MobileNetV2 for small images: Sandler et al. 2018 (arXiv:1801.04381), table 2, first strides 1 instead of 2.

As in chenyaofo/pytorch-cifar-models: ×0.75 with 100 classes at 3×32×32 has 1.48 M parameters and 59.43 M MACs.
For the ImageNet form see `torchvision/mobilenet_v2`.
"""

from functools import partial

from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.models import MODELS, Factor, InputShape, PositiveInt, Share
from kdbench.models.staged import Staged, conv_bn, stage

# Expansion, channels, repeats, stride of the first repeat.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def rounded(channels: float) -> int:
    """Round to a multiple of 8, at least 8, never down by more than a tenth (the paper's reference code)."""
    multiple = max(8, int(channels + 4) // 8 * 8)
    return multiple if multiple >= 0.9 * channels else multiple + 8


class InvertedResidual(nn.Module):
    """1×1 expansion, 3×3 depthwise convolution, linear 1×1 projection; added to the input if shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        expand = [*conv_bn(inputs, middle, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        depthwise = [*conv_bn(middle, middle, 3, stride, groups=middle), nn.ReLU6(inplace=True)]
        self.convs = nn.Sequential(*expand, *depthwise, *conv_bn(middle, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.convs(x)
        return x + y if self.residual else y


@MODELS.register("mobilenetv2")
def mobilenetv2(
    _name: str, input_shape: InputShape, classes: PositiveInt, /, *, width: Factor = 1.0, dropout: Share = 0.2
) -> nn.Module:
    """Build MobileNetV2 with channels times `width`."""
    inputs = rounded(32 * width)
    stem = nn.Sequential(*conv_bn(input_shape[0], inputs, 3), nn.ReLU6(inplace=True))
    stages = []
    for expansion, channels, repeats, stride in STAGES:
        outputs = rounded(channels * width)
        block = partial(InvertedResidual, expansion=expansion)
        stages.append(stage(block, inputs, outputs, stride, repeats))
        inputs = outputs
    last = rounded(1280 * max(1.0, width))
    pooled = [*conv_bn(inputs, last, 1), nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    head = nn.Sequential(*pooled, nn.Dropout(dropout), nn.Linear(last, classes))
    return Staged(stem, stages, head, linear_std=0.01)


@MODELS.register_pattern(r"mobilenetv2_x\d{1,2}_\d{1,4}", example="mobilenetv2_x0_75")
def mobilenetv2_by_width(
    name: str, input_shape: InputShape, classes: PositiveInt, /, *, dropout: Share = 0.2
) -> nn.Module:
    """Build MobileNetV2 with the width that the name ends in: `mobilenetv2_x0_75` is 0.75."""
    width = float(name.removeprefix("mobilenetv2_x").replace("_", "."))
    if width == 0:
        raise InputError(f"model {name!r} has width 0", "for example mobilenetv2_x0_5")
    return mobilenetv2(name, input_shape, classes, width=width, dropout=dropout)


for _known in ("mobilenetv2_x0_5", "mobilenetv2_x1_0", "mobilenetv2_x1_4"):
    MODELS.register(_known)(mobilenetv2_by_width)
