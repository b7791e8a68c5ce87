"""Losses on outputs as they are, logits or predicted numbers: the squared error against targets or a teacher."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor

from kdbench.distill.losses import require_same_shape, upcast


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of (output - target)² over the batch and the D components, of outputs and targets (B, D).

    Raises ValueError where the shapes differ: torch would broadcast (B, 1) against (B,) to (B, B).
    """
    require_same_shape(outputs, targets, "outputs")
    return F.mse_loss(upcast(outputs), upcast(targets))


def squared_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over the batch of the mean over the D components of (output - target)², in float64."""
    require_same_shape(outputs, targets, "outputs")
    return torch.sum((outputs.double() - targets.double()) ** 2) / outputs.shape[1]


def mean_outputs(teacher_outputs: Sequence[Tensor]) -> Tensor:
    """Return the mean of n teachers' outputs (B, D), in float32: an ensemble's prediction of numbers."""
    if len(teacher_outputs) == 1:
        return teacher_outputs[0]
    return torch.stack([upcast(outputs) for outputs in teacher_outputs]).mean(dim=0)
