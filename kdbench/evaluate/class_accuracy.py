"""Accuracy class by class: the recall of each label."""

import numpy as np
from numpy.typing import NDArray


def right_by_class(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> dict[int, tuple[int, int]]:
    """Return for each label that occurs how many of its samples are `right` (N,), and how many there are."""
    totals = np.bincount(labels)
    hits = np.bincount(labels[right], minlength=len(totals))
    return {int(label): (int(hits[label]), int(totals[label])) for label in np.flatnonzero(totals)}
