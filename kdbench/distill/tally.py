"""Loss and accuracy of an epoch, added up without waiting for the device, over all processes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kdbench.distill.losses import correct
from kdbench.distill.processes import Processes


class Mean(NamedTuple):
    """Mean loss in nats and share of correct answers."""

    loss: float
    top1: float


class Tally:
    """Sums over an epoch, kept on the device: reading a number at every step would wait for it."""

    def __init__(self) -> None:
        self.loss: Tensor | float = 0.0
        self.correct: Tensor | float = 0.0
        self.samples = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, counted: int) -> None:
        """Add a batch's mean loss, a scalar, and the answers (B, C); `counted` is B, or 0 where another counts it."""
        if not counted:
            return
        self.loss = self.loss + loss.detach().float() * counted
        self.correct = self.correct + correct(logits.detach(), labels)
        self.samples += counted


def means(tallies: Sequence[Tally], processes: Processes) -> list[Mean]:
    """Return the means of sums over all processes, the same in each."""
    rows = [(float(tally.loss), float(tally.correct), tally.samples) for tally in tallies]
    sums = processes.summed(torch.tensor(rows, dtype=torch.float64))
    return [Mean(loss / samples, right / samples) for loss, right, samples in sums.tolist()]
