"""Gradient accumulation: which batches of an epoch make one update of the weights, and with which weights."""

from collections.abc import Sequence
from typing import NamedTuple

from kdbench.data.batches import BatchPart


class Share(NamedTuple):
    """A batch's share of update `update` of the epoch, from 0: its gradient times `weight`.

    `first` and `last` say whether it is the first and the last of the update's batches.
    """

    update: int
    first: bool
    last: bool
    weight: float


def shares(parts: Sequence[BatchPart], sizes: Sequence[int], count: int) -> list[Share]:
    """Return the shares of an epoch's batches in updates of `count` batches each; the last update may have fewer.

    `parts` are this process's parts of the batches and `sizes` the samples of the whole batches. The mean over all
    processes of the sum of weight · mean gradient is the mean gradient over the samples of the update's batches: two
    batches of 32 count as one of 64.
    """
    result = []
    for index, (part, size) in enumerate(zip(parts, sizes, strict=True)):
        update, number = divmod(index, count)
        total = sum(sizes[update * count : (update + 1) * count])
        last = number == count - 1 or index == len(parts) - 1
        # No product for a single batch: it would round.
        weight = part.weight if total == size else part.weight * size / total
        result.append(Share(update, number == 0, last, weight))
    return result
