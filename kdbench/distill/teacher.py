"""A teacher during a student's training: frozen, in evaluation mode, never part of what is trained or saved."""

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from kdbench.data.batches import Batch
from kdbench.distill.method import TeacherOutput
from kdbench.models.taps import Taps


class Teacher(Protocol):
    """Whoever can say what a teacher says of a batch.

    `kind` is how, and `prepared_s` how many seconds it took before the training began.
    """

    kind: Literal["live", "kept"]
    prepared_s: float

    def to(self, device: torch.device) -> None:
        """Move what is asked at every step to `device`."""

    def lesson(self, batch: Batch, layers: Sequence[str] = (), *, logits: bool = True) -> TeacherOutput:
        """Return the teacher's word on a batch: its features of `layers`, and its logits unless nobody wants them."""


class LiveTeacher:
    """A teacher that sees the very images the student sees, at every step.

    Deliberately not an `nn.Module`: a student that held it as a child would switch it to training mode with
    itself, hand its weights to the optimiser and write them into every checkpoint.
    """

    kind: Literal["live", "kept"] = "live"
    prepared_s = 0.0

    def __init__(self, network: nn.Module, *, channels_last: bool = False) -> None:
        self.network = network.eval().requires_grad_(requires_grad=False)
        if channels_last:
            self.network.to(memory_format=torch.channels_last)

    def to(self, device: torch.device) -> None:
        """Move the teacher's weights to `device`."""
        self.network.to(device)

    def lesson(self, batch: Batch, layers: Sequence[str] = (), *, logits: bool = True) -> TeacherOutput:
        """Return the teacher's word on the batch's images; no graph is built.

        Without `logits` the teacher is run as far as the last of `layers`, and no further.
        """
        said: Tensor | None = None
        with torch.inference_mode(), Taps(self.network, tuple(layers), no_further=not logits) as taps:
            said = self.network(batch.images)
        # Copies, for a student's backward pass may save what it is compared with, and tensors of inference mode refuse.
        features = {layer: feature.clone() for layer, feature in taps.features.items()}
        return TeacherOutput(None if said is None else said.clone(), features)
