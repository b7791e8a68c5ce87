"""Kullback-Leibler divergence of two classifiers' predictions, sample by sample."""

import numpy as np
from numpy.typing import NDArray


def log_softmax(logits: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return log p of logits (N, C), float64 and stable for logits of any size."""
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    values -= np.log(np.exp(values).sum(axis=1, keepdims=True))
    return values


def kl_divergences(log_t: NDArray[np.float64], log_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return KL(teacher || student) = sum_c p_t log(p_t / p_s) in nats, (N,), of log-probabilities (N, C)."""
    divergences: NDArray[np.float64] = (np.exp(log_t) * (log_t - log_s)).sum(axis=1)
    return divergences
