"""Mean losses and scores of an epoch, over all its batches and all processes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kdbench.distill.tasks import CLASSIFICATION, Task
from kdbench.distill.training.processes import Processes


class Tally:
    """Losses and scores by batch, kept on the device: reading one would wait for it."""

    def __init__(self, task: Task = CLASSIFICATION) -> None:
        self._task = task
        self._batches: list[tuple[Tensor, Tensor, int]] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, counted: int) -> None:
        """Add a batch's mean loss, a scalar, and logits (B, C); `counted` is B, or 0 if another process counts it."""
        if counted:
            self._batches.append((loss.detach(), self._task.score(logits.detach(), labels), counted))

    def sums(self) -> tuple[float, float, int]:
        """Return the sums of the samples' losses and of their scores, and the number of samples."""
        if not self._batches:
            return 0.0, 0.0, 0
        losses, scores, samples = zip(*self._batches, strict=True)
        weighted = torch.stack(losses).float().cpu() * torch.tensor(samples)
        # In float32 and in order, so that the sum does not depend on how the device or a library adds.
        return float(np.add.accumulate(weighted.numpy())[-1]), float(torch.stack(scores).sum()), sum(samples)


def means(tallies: Sequence[Tally], processes: Processes) -> list[tuple[float, float]]:
    """Return the mean loss and the mean score (`Task.score`) over all processes, the same in each."""
    sums = processes.summed(torch.tensor([tally.sums() for tally in tallies], dtype=torch.float64))
    return [(loss / samples, score / samples) for loss, score, samples in sums.tolist()]
