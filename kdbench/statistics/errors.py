"""Estimates of errors: mean squared errors, their ratio on the same samples, and the coefficient of determination.

Intervals are by the delta method with Student's t, from each sample's contribution to a smooth function of means.
Errors are positive and skewed, so their intervals are on the logarithm.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kdbench.statistics.estimates import Estimate, student_t

Values = NDArray[np.float64]


def positive_mean(values: Values) -> Estimate:
    """Return the mean of independent values from 0 on; the interval is on the logarithm, [0, 0] if all are 0."""
    return _on_logarithm(float(values.mean()), values, 1.0)


def root_mean(values: Values) -> Estimate:
    """Return the root of the mean of independent values from 0 on: of squared errors, their root mean square."""
    return _on_logarithm(math.sqrt(float(values.mean())), values, 0.5)


def root_mean_ratio(first: Values, second: Values) -> Estimate:
    """Return the ratio of the root means of two values of the same samples (N,): infinite where the second is 0."""
    means, n = (float(first.mean()), float(second.mean())), len(first)
    if 0.0 in means:
        ratio = 1.0 if means == (0.0, 0.0) else math.inf if means[0] else 0.0
        return Estimate(ratio, None, None, n)
    ratio = math.sqrt(means[0] / means[1])
    half = _half_width(0.5 * (first / means[0] - second / means[1]))
    return Estimate(ratio, *_around(ratio, half), n)


def determination(outputs: Values, targets: Values) -> Estimate:
    """Return R² = 1 - Σ(y - ŷ)² / Σ(y - ȳ)² of outputs and targets (N, D), the mean over the D components.

    NaN where a component of the targets does not vary. R² is at most 1, and below 0 for outputs that are worse than
    the targets' mean.
    """
    errors, spread, n = (targets - outputs) ** 2, (targets - targets.mean(axis=0)) ** 2, len(targets)
    variances = spread.mean(axis=0)
    # By the ends: the rounded mean of equal numbers need not be the number itself.
    if (targets.min(axis=0) == targets.max(axis=0)).any() or not variances.all():
        return Estimate(math.nan, None, None, n)
    unexplained = errors.mean(axis=0) / variances
    value = float(1 - unexplained.mean())
    half = _half_width(((errors - unexplained * spread) / variances).mean(axis=1))
    return Estimate(value, None if half is None else value - half, None if half is None else min(value + half, 1.0), n)


def _on_logarithm(value: float, values: Values, power: float) -> Estimate:
    mean, n = float(values.mean()), len(values)
    if not mean:
        return Estimate(value, 0.0, 0.0, n)
    half = _half_width(power * values / mean)
    return Estimate(value, *_around(value, half), n)


def _around(value: float, half: float | None) -> tuple[float | None, float | None]:
    return (None, None) if half is None else (value * math.exp(-half), value * math.exp(half))


def _half_width(contributions: Values) -> float | None:
    """Return half the width of the interval of the mean of the samples' contributions; None for a single sample."""
    n = len(contributions)
    return None if n < 2 else student_t(n - 1) * float(np.std(contributions, ddof=1)) / math.sqrt(n)
