"""Whether a model learned the wrong labels among its training images."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.evaluate.analyses import TrainingImages
from kdbench.evaluate.predictions import Predictions
from kdbench.results.findings import estimated
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Measurement

NOISE = metrics_in("label noise")


class NoiseOutcomes(NamedTuple):
    """Of `n` images with a wrong label: how many predictions are the true class, the wrong label, and neither."""

    corrected: int
    memorised: int
    other: int

    @property
    def n(self) -> int:
        """How many labels were changed."""
        return sum(self)


def noise_outcomes(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], true_labels: NDArray[np.int64]
) -> NoiseOutcomes:
    """Return the outcomes of a model's `predicted` classes (N,) where label and true label differ."""
    flipped = labels != true_labels
    corrected = int((flipped & (predicted == true_labels)).sum())
    memorised = int((flipped & (predicted == labels)).sum())
    return NoiseOutcomes(corrected, memorised, int(flipped.sum()) - corrected - memorised)


def noise_measurements(predictions: Predictions, images: TrainingImages) -> tuple[Measurement, ...]:
    """Return the shares of the images with a wrong label that are predicted as the true class, and as the wrong one."""
    outcomes = noise_outcomes(predictions.logits.argmax(axis=1), images.labels, images.true_labels)
    return tuple(
        estimated(predictions.id, metric, statistics.binomial_share(count, outcomes.n), source=predictions.source)
        for metric, count in zip(NOISE, (outcomes.corrected, outcomes.memorised), strict=True)
    )
