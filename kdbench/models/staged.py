"""Structures that networks share: a stem, a sequence of blocks and a head; networks side by side under one head."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.models import MODELS, Count, PositiveInt, SampleShape, Width, build


class Staged(nn.Module):
    """A classifier made of a stem, blocks in order, and a head that ends in the logits.

    `stages` holds the module paths of the blocks, in order, for feature hooks. Convolutions start from He's normal
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


class Fused(nn.Module):
    """Trunks (B, C, H, W) → (B, features) each, and a linear head over their concatenated outputs.

    After Ahad, "Knowledge Distillation Techniques", task 4: four half-width VGG-11 trunks of 128 outputs each.
    """

    def __init__(self, trunks: list[nn.Module], features: int, classes: int) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(trunks)
        self.head = nn.Linear(features * len(trunks), classes)
        self.stages = tuple(f"trunks.{index}" for index in range(len(trunks)))
        self._frozen = False

    def freeze_trunks(self) -> None:
        """Freeze the trunks from now on: no gradients, and evaluation mode even in training."""
        self.trunks.requires_grad_(requires_grad=False)
        self._frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> "Fused":
        """Switch to training or evaluation; frozen trunks stay in evaluation mode."""
        super().train(mode)
        if self._frozen:
            self.trunks.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        logits: Tensor = self.head(torch.cat([trunk(images) for trunk in self.trunks], dim=1))
        return logits


@MODELS.register("fused")
def fused(
    name: str,  # noqa: ARG001 - a factory takes it, and this one has one name
    input_shape: SampleShape,
    classes: PositiveInt,
    /,
    *,
    trunk: str | dict[str, Any] = "convnet",
    count: Count = 4,
    features: Width = 128,
) -> nn.Module:
    """Build `count` networks of the model `trunk` (its name, or a table with options), each of `features` outputs."""
    options = {"name": trunk} if isinstance(trunk, str) else dict(trunk)
    model = str(options.pop("name", ""))
    return Fused([build(model, input_shape, features, **options) for _ in range(count)], features, classes)
