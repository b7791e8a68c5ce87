"""Expected calibration error: how far confidence is from accuracy (Guo et al. 2017)."""

import numpy as np
from numpy.typing import NDArray

BINS = 15


def expected_calibration_error(
    log_probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = BINS
) -> float:
    """Return ECE = sum_m |B_m| / N |accuracy(B_m) - confidence(B_m)| of log p (N, C).

    A sample's confidence is its largest probability; bin m of equal width holds those in ((m - 1) / M, m / M].
    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3, with their 15 bins.
    """
    confidences = np.exp(log_probabilities.max(axis=1))
    right = log_probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=right - confidences, minlength=bins)  # |B_m| (accuracy - confidence)
    return float(np.abs(gaps).sum() / len(labels))
