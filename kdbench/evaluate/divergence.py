"""How far two classifiers' predictions are apart, sample by sample: KL divergence and the order of the classes."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

Std = Literal["population", "unbiased"]
"""Which standard deviation of a row of C logits: divided by C, or by C - 1 (the authors' code)."""


def kl_divergences(log_t: NDArray[np.float64], log_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return KL(teacher || student) = sum_c p_t log(p_t / p_s) in nats, (N,), of log-probabilities (N, C)."""
    divergences: NDArray[np.float64] = (np.exp(log_t) * (log_t - log_s)).sum(axis=1)
    return divergences


def standardized(logits: NDArray[np.float64], std: Std = "population") -> NDArray[np.float64]:
    """Return (z - mean) / (1e-7 + standard deviation) of each row of `logits` (N, C); equal logits become zeros.

    Sun et al. 2024, "Logit Standardization in Knowledge Distillation". Log-probabilities serve as well: they differ
    from the logits by a constant of their row, which the mean takes away.
    """
    centred = logits - logits.mean(axis=1, keepdims=True)
    deviations = logits.std(axis=1, ddof=1 if std == "unbiased" else 0, keepdims=True)
    result: NDArray[np.float64] = centred / (1e-7 + deviations)
    return result


def standardized_kl(
    teacher: NDArray[np.float64], student: NDArray[np.float64], std: Std = "population"
) -> NDArray[np.float64]:
    """Return KL(teacher || student) in nats, (N,), of the softmaxes of both logits (N, C) after standardization."""
    log_t, log_s = (log_softmax(standardized(logits, std), axis=1) for logits in (teacher, student))
    return kl_divergences(log_t, log_s)


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's rho of each row of two arrays (N, C), (N,): Pearson's correlation of their ranks.

    Ties have the average of their ranks. NaN where a row's values are all equal: they have no order.
    """
    from scipy.stats import rankdata  # slow to import

    ranks = [rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (first, second)]
    products = (ranks[0] * ranks[1]).sum(axis=1)
    scale = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    rhos: NDArray[np.float64] = np.divide(products, scale, out=np.full(len(products), np.nan), where=scale > 0)
    return rhos
