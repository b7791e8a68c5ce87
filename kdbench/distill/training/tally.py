"""Mean losses and scores of an epoch, over all its batches and all processes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdbench.distill.tasks import CLASSIFICATION, Task
from kdbench.distill.training.processes import Processes


class Mean(NamedTuple):
    """The mean loss and the mean score (`Task.score`) of an epoch's samples, and the score weighted by class."""

    loss: float
    score: float
    weighted_score: float


class Tally:
    """Losses and scores by batch, kept on the device: reading one would wait for it.

    With `class_weights` (C,) the losses that are added are means weighted by class, and so is the mean of all.
    """

    def __init__(self, task: Task = CLASSIFICATION, class_weights: Tensor | None = None) -> None:
        self._task = task
        self._class_weights = class_weights
        self._losses, self._scores, self._weights = _Series(), _Series(), _Series()
        self._samples: list[int] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, counted: int) -> None:
        """Add a batch's mean loss, a scalar, and logits (B, C); `counted` is B, or 0 if another process counts it."""
        if counted:
            self._losses.append(loss.detach())
            self._scores.append(self._task.score(logits.detach(), labels))
            self._samples.append(counted)
            if self._class_weights is not None:
                weights = self._class_weights[labels].double()
                self._weights.append(torch.stack([weights.sum(), weights[logits.argmax(dim=1) == labels].sum()]))

    def sums(self) -> tuple[float, float, int, float, float]:
        """Return sums over samples: of losses, of scores, of samples, and of the weights of all and of correct ones."""
        if not self._samples:
            return 0.0, 0.0, 0, 0.0, 0.0
        losses, samples = self._losses.values().cpu(), self._samples
        score = float(self._scores.values().sum())
        if self._class_weights is None:
            weighted = losses.float() * torch.tensor(samples)
            # In float32 and in order, so that the sum does not depend on how the device or a library adds.
            return float(np.add.accumulate(weighted.numpy())[-1]), score, sum(samples), sum(samples), score
        weights = self._weights.values().cpu().numpy()
        # A batch without weight has no mean loss.
        batch_losses = np.where(weights[:, 0] > 0, losses.double().numpy() * weights[:, 0], 0.0)
        total, correct = np.add.accumulate(weights)[-1].tolist()
        return float(np.add.accumulate(batch_losses)[-1]), score, sum(samples), total, correct


class _Series:
    """Tensors of one shape, copied into one growing tensor.

    A list of small tensors would fragment memory: they would lie between the freed activations of their steps, and the
    C library would find no gap large enough for the next step's. Memory would grow by one activation per step.
    """

    def __init__(self) -> None:
        self._buffer: Tensor | None = None
        self._length = 0

    def append(self, value: Tensor) -> None:
        """Copy a value of the series' shape; the first one sets shape, type and device."""
        if self._buffer is None:
            self._buffer = value.new_empty((1024, *value.shape))
        elif self._length == len(self._buffer):
            self._buffer = torch.cat([self._buffer, torch.empty_like(self._buffer)])
        self._buffer[self._length] = value
        self._length += 1

    def values(self) -> Tensor:
        """Return all values, stacked; there must be at least one."""
        assert self._buffer is not None
        return self._buffer[: self._length]


def means(tallies: Sequence[Tally], processes: Processes) -> list[Mean]:
    """Return the means over all processes, the same in each."""
    sums = processes.summed(torch.tensor([tally.sums() for tally in tallies], dtype=torch.float64))
    return [
        Mean(loss / weights, score / samples, correct / weights)
        for loss, score, samples, weights, correct in sums.tolist()
    ]
