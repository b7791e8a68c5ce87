"""Initial weights: interpolated with another model's, or fused from separately trained sub-students.

Stanton et al. 2021 (arXiv:2106.05945, section 6) start students at λ · fresh + (1 − λ) · teacher; `share` is 1 − λ.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from kdbench.data.batches import Batches
from kdbench.errors import InputError
from kdbench.models.feature_hooks import declared_stages
from kdbench.models.staged import Fused
from kdbench.recipe import Start

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def interpolate_weights(network: nn.Module, other: nn.Module, start: Start, images: Batches) -> None:
    """Move the weights of `network`, in place, `start.share` of the way to those of `other`.

    Leaves `network` in training mode, on the CPU. Raises InputError if the two differ in shape.
    """
    require_same_shape(network, other)
    fresh, trained = network.state_dict(), other.state_dict()
    # Integers, such as batch norm's number of batches, cannot be interpolated.
    mixed = {
        name: torch.lerp(value, trained[name].to(value), start.share) if value.is_floating_point() else trained[name]
        for name, value in fresh.items()
    }
    network.load_state_dict(mixed)
    if start.batch_norm == "re-estimate":
        re_estimate(network, images)
    network.train()


def require_same_shape(network: nn.Module, other: nn.Module) -> None:
    """Raise InputError if the weights of two networks differ in name or shape."""
    fresh, trained = network.state_dict(), other.state_dict()
    shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in (fresh, trained)]
    if shapes[0] != shapes[1]:
        weight = min(shapes[0].items() ^ shapes[1].items())[0]
        message = f"start mixes the weights of two models, which need the same shape; they differ in {weight!r}"
        raise InputError(message, "choose the same model, or leave start out")


def re_estimate(network: nn.Module, images: Batches) -> None:
    """Recompute batch norm's running statistics as the mean over all batches of `images`.

    Mixed statistics of two networks fit neither of them: signals vanish or explode from layer to layer.
    """
    norms = {module: module.momentum for module in network.modules() if isinstance(module, _NORMS)}
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # for torch: a plain mean over all batches
    network.eval()  # without dropout
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for batch in images:
            network(batch.inputs)
    for norm, momentum in norms.items():
        norm.momentum = momentum


class SubStudent(nn.Module):
    """A trunk (B, C, H, W) → (B, features), with a linear classifier while it is trained separately."""

    def __init__(self, trunk: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(features, classes)
        self.stages = tuple(f"trunk.{stage}" for stage in declared_stages(trunk))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        return cast("Tensor", self.head(self.trunk(images)))


def fuse(network: Fused, parts: Sequence[SubStudent]) -> None:
    """Set the weights of `network`, in place, so that its logits are the mean of its parts' logits.

    Its head is the parts' heads side by side, divided by their number.
    """
    for trunk, part in zip(network.trunks, parts, strict=True):
        trunk.load_state_dict(part.trunk.state_dict())
    with torch.no_grad():
        network.head.weight.copy_(torch.cat([part.head.weight for part in parts], dim=1) / len(parts))
        network.head.bias.copy_(torch.stack([part.head.bias for part in parts]).mean(dim=0))
