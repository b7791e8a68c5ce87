"""Sub-students: narrow networks that are trained alone, and what the network they are fused to takes over from them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdbench.models.fused import Fused


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


def fuse(network: Fused, parts: Sequence[SubStudent]) -> None:
    """Let `network`, in place, begin with what `parts` learned: with the mean of their answers.

    Its head is the parts' own heads side by side, each divided by their number.
    """
    for trunk, part in zip(network.trunks, parts, strict=True):
        trunk.load_state_dict(part.trunk.state_dict())
    with torch.no_grad():
        network.head.weight.copy_(torch.cat([part.head.weight for part in parts], dim=1) / len(parts))
        network.head.bias.copy_(torch.stack([part.head.bias for part in parts]).mean(dim=0))
