"""Logits as logit standardization sees them (Sun et al. 2024, "Logit Standardization in Knowledge Distillation")."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kdbench.evaluate.divergence import kl_divergences, log_softmax

Std = Literal["population", "unbiased"]
"""Whose standard deviation: of the row itself, divided by C, or of a sample, by C - 1 (the authors' code)."""


def standardized(logits: NDArray[np.float64], std: Std = "population") -> NDArray[np.float64]:
    """Return (z - mean) / (1e-7 + standard deviation) of each row of `logits` (N, C); equal logits become zeros.

    Log-probabilities serve as well: they are the logits less a constant of their row, which the mean takes away.
    """
    centred = logits - logits.mean(axis=1, keepdims=True)
    deviations = logits.std(axis=1, ddof=1 if std == "unbiased" else 0, keepdims=True)
    result: NDArray[np.float64] = centred / (1e-7 + deviations)
    return result


def standardized_kl(
    teacher: NDArray[np.float64], student: NDArray[np.float64], std: Std = "population"
) -> NDArray[np.float64]:
    """Return KL(teacher || student) in nats, (N,), of the softmaxes of both logits (N, C) after standardization."""
    return kl_divergences(log_softmax(standardized(teacher, std)), log_softmax(standardized(student, std)))
