"""Several networks side by side under one linear head: trained sub-students combined into one network.

After Ahad, "Knowledge Distillation Techniques", task 4: four half-width VGG-11 trunks of 128 outputs each, fused.
"""

from typing import Any

import torch
from torch import Tensor, nn

from kdbench.models import MODELS, InputShape, PositiveInt, build


class Fused(nn.Module):
    """Trunks (B, C, H, W) → (B, features) each, and a linear head over their concatenated outputs."""

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
    input_shape: InputShape,
    classes: PositiveInt,
    /,
    *,
    trunk: str | dict[str, Any] = "convnet",
    count: PositiveInt = 4,
    features: PositiveInt = 128,
) -> nn.Module:
    """Build `count` networks of the model `trunk` (its name, or a table with options), each of `features` outputs."""
    options = {"name": trunk} if isinstance(trunk, str) else dict(trunk)
    model = str(options.pop("name", ""))
    return Fused([build(model, input_shape, features, **options) for _ in range(count)], features, classes)
