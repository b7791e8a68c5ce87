"""The common structure of networks in this package: a stem, a sequence of blocks, a head."""

import math
from collections.abc import Callable, Iterable

from torch import Tensor, nn


class Staged(nn.Module):
    """A classifier made of a stem, blocks in order, and a head that ends in the logits.

    `stages` holds the module paths of the blocks, in order, for feature taps. Convolutions start from He's normal
    initialisation over the fan-out (He et al. 2015, arXiv:1502.01852), batch norm from the identity; linear layers from
    torch's default, or from N(0, linear_std²) with zero bias if `linear_std` is set.
    """

    def __init__(
        self, stem: nn.Module, blocks: Iterable[nn.Module], head: nn.Module, *, linear_std: float | None = None
    ) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.head = head
        self.stages = tuple(f"blocks.{index}" for index in range(len(self.blocks)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear) and linear_std is not None:
                nn.init.normal_(module.weight, std=linear_std)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, classes)."""
        logits: Tensor = self.head(self.blocks(self.stem(x)))
        return logits


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution without bias, padded so that stride 1 keeps the size, and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def conv_bn_relu(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return convolution, batch norm and ReLU."""
    return nn.Sequential(*conv_bn(inputs, outputs, kernel, stride), nn.ReLU(inplace=True))


def stage(block: Callable[[int, int, int], nn.Module], inputs: int, outputs: int, stride: int, count: int) -> nn.Module:
    """Return `count` blocks made by `block(inputs, outputs, stride)`; the first has the stride and widens."""
    return nn.Sequential(block(inputs, outputs, stride), *(block(outputs, outputs, 1) for _ in range(count - 1)))


def pooled_linear(inputs: int, classes: int) -> nn.Sequential:
    """Return global average pooling and a linear layer: (B, inputs, H, W) to (B, classes)."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def scaled(width: int, factor: float) -> int:
    """Return `width` times `factor`, rounded, at least 1."""
    return max(1, math.floor(width * factor + 0.5))
