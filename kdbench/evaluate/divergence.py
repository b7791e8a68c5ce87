"""Kullback-Leibler divergence of two classifiers' predictions, sample by sample."""

import numpy as np
from numpy.typing import NDArray


def log_softmax(logits: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return log p of logits (N, C), float64 and stable for logits of any size."""
    from scipy import special

    log_probabilities: NDArray[np.float64] = special.log_softmax(logits.astype(np.float64), axis=1)
    return log_probabilities


def kl_divergences(log_t: NDArray[np.float64], log_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return KL(teacher || student) = sum_c p_t log(p_t / p_s) in nats, (N,), of log-probabilities (N, C)."""
    divergences: NDArray[np.float64] = (np.exp(log_t) * (log_t - log_s)).sum(axis=1)
    return divergences
