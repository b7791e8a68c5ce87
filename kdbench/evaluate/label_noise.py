"""Whether a model believed the wrong labels among its training images."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class NoiseOutcomes(NamedTuple):
    """Of `n` images with a wrong label: how many are given their true class, the wrong label, and neither."""

    corrected: int
    memorised: int
    other: int

    @property
    def n(self) -> int:
        """How many labels were changed."""
        return sum(self)


def noise_outcomes(predicted: NDArray[np.int64], given: NDArray[np.int64], true: NDArray[np.int64]) -> NoiseOutcomes:
    """Return what a model predicts, (N,), where the `given` label is not the `true` one; other images do not count."""
    flipped = given != true
    corrected = int((flipped & (predicted == true)).sum())
    memorised = int((flipped & (predicted == given)).sum())
    return NoiseOutcomes(corrected, memorised, int(flipped.sum()) - corrected - memorised)
