"""The variances of the empirical and the distilled risk.

Both risks are means over a sample of the loss l(y, f(x)) = -log p_s(y | x): at the label y that was drawn, or its
expectation under class probabilities p(x) (Menon et al. 2021, "A Statistical Perspective on Distillation"). Where p(x)
are the true ones, the second risk has no larger variance than the first, because
Var[l(y, f(x))] = Var[p(x)^T l(f(x))] + E[Var[l(y, f(x)) | x]] (Lemma 1 of Gupta et al., "Exploring Knowledge
Distillation"). Here a teacher's probabilities stand in for them: the order is likely, not certain.
"""

import numpy as np
from numpy.typing import NDArray

from kdbench.evaluate.predictions import Predictions
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Measurement, measured

RISKS = metrics_in("risk")


def risk_measurements(teacher: Predictions, student: Predictions, labels: NDArray[np.int64]) -> tuple[Measurement, ...]:
    """Return the variances of the student's empirical risk, and of its risk under the teacher's probabilities."""
    variances = risk_variances(student.log_probabilities(), teacher.log_probabilities(), labels)
    source = f"probabilities of {teacher.id}"
    return tuple(
        measured(student.id, metric, variance, n=len(labels), source=source)
        for metric, variance in zip(RISKS, variances, strict=True)
    )


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
