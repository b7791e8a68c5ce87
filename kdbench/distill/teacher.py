"""A teacher during a student's training: frozen, in evaluation mode, never part of what is trained or saved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdbench.models.taps import Taps


@dataclass(frozen=True, eq=False)
class Lesson:
    """What the teacher says of one batch: logits (B, C), and the features of the tapped layers."""

    logits: Tensor
    features: Mapping[str, Tensor]


class LiveTeacher:
    """A teacher that sees the very images the student sees, at every step.

    Deliberately not an `nn.Module`: a student that held it as a child would switch it to training mode with
    itself, hand its weights to the optimiser and write them into every checkpoint.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval().requires_grad_(requires_grad=False)

    def to(self, device: torch.device) -> None:
        """Move the teacher's weights to `device`."""
        self.network.to(device)

    def lesson(self, images: Tensor, layers: Sequence[str] = ()) -> Lesson:
        """Return the teacher's word on `images` (B, C, H, W), already normalised; no graph is built."""
        # no_grad, not inference_mode: the student's backward pass may save these tensors.
        with torch.no_grad(), Taps(self.network, tuple(layers)) as taps:
            logits: Tensor = self.network(images)
        return Lesson(logits, dict(taps.features))
