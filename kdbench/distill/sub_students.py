"""A student made of several: narrow networks trained alone, their outputs side by side under one linear head.

After Ahad, "Knowledge Distillation Techniques", task 4: four half-width VGG-11 trunks of 128 outputs each, fused.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn


class SubStudent(nn.Module):
    """A trunk (B, C, H, W) → (B, features), and the linear classifier that it has while it is trained alone."""

    def __init__(self, trunk: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(features, classes)
        self.stages = tuple(f"trunk.{stage}" for stage in getattr(trunk, "stages", ()))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        logits: Tensor = self.head(self.trunk(images))
        return logits


class Fused(nn.Module):
    """The trunks of sub-students under one head over their concatenated outputs.

    With `tune` "head" the trunks stay as they are, in evaluation mode also while the head is trained.
    """

    def __init__(self, parts: Sequence[nn.Module], *, tune: Literal["head", "all"]) -> None:
        super().__init__()
        trained = [part for part in parts if isinstance(part, SubStudent)]
        assert trained, "nothing to fuse"
        self.trunks = nn.ModuleList(part.trunk for part in trained)
        features = sum(part.head.in_features for part in trained)
        self.head = nn.Linear(features, trained[0].head.out_features)
        self._frozen = tune == "head"
        if self._frozen:
            self.trunks.requires_grad_(requires_grad=False)

    def take(self, parts: Sequence[nn.Module]) -> None:
        """Take over what the parts learned, and begin with the mean of their answers.

        The head over all features starts as the parts' own heads side by side, each divided by their number: the
        fused network's first logits are the mean of the parts'.
        """
        trained = [part for part in parts if isinstance(part, SubStudent)]
        for trunk, part in zip(self.trunks, trained, strict=True):
            trunk.load_state_dict(part.trunk.state_dict())
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([part.head.weight for part in trained], dim=1) / len(trained))
            self.head.bias.copy_(torch.stack([part.head.bias for part in trained]).mean(dim=0))

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
