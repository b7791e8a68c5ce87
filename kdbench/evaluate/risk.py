"""The variances of the empirical and the distilled risk.

Both risks are means over a sample of the loss l(y, f(x)) = -log p_s(y | x): at the label y that was drawn, or its
expectation under class probabilities p(x) (Menon et al. 2021, "A Statistical Perspective on Distillation"). Where p(x)
are the true ones, the second has no more variance than the first, because
Var[l(y, f(x))] = Var[p(x)^T l(f(x))] + E[Var[l(y, f(x)) | x]] (Lemma 1 of Gupta et al., "Exploring Knowledge
Distillation"). Here a teacher's probabilities stand for them: the order is what one looks for, not what must be.
"""

import numpy as np
from numpy.typing import NDArray


def empirical_risks(log_s: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the loss at the label, -log p_s(y), in nats, (N,), of log p (N, C)."""
    return -np.take_along_axis(log_s, labels[:, None], axis=1)[:, 0]


def distilled_risks(log_s: NDArray[np.float64], log_t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loss that the teacher's probabilities expect, -sum_c p_t(c) log p_s(c), in nats, (N,)."""
    risks: NDArray[np.float64] = -(np.exp(log_t) * log_s).sum(axis=1)
    return risks


def risk_variances(
    log_s: NDArray[np.float64], log_t: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the variances of one sample's empirical and distilled risk, in nats²; N times those of their means.

    Both are unbiased (divided by N - 1); NaN for a single sample.
    """
    if len(labels) < 2:
        return np.nan, np.nan
    return float(np.var(empirical_risks(log_s, labels), ddof=1)), float(np.var(distilled_risks(log_s, log_t), ddof=1))
