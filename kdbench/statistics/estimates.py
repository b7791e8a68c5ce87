"""Estimates with intervals from independent observations: means, medians, shares, order statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.statistics.special import beta_quantile, binomial_cdf, normal_quantile, t_quantile

LEVEL = 0.95
NORMAL_Z = normal_quantile((1 + LEVEL) / 2)
"""The two-sided quantile of the normal distribution at `LEVEL`."""


@dataclass(frozen=True)
class Estimate:
    """A value and its `LEVEL` interval `[low, high]` (None where n does not allow one), from `n` observations."""

    value: float
    low: float | None
    high: float | None
    n: int


def relative_width(estimate: Estimate) -> float:
    """Return the width of an estimate's interval as a share of its value; infinite where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return math.inf
    return (estimate.high - estimate.low) / estimate.value


def within(estimate: Estimate, possible: tuple[float, float]) -> Estimate:
    """Return an estimate whose interval ends at the least and the greatest `possible` value: it loses no coverage.

    The interval holds the value even where that is beyond a limit by a rounding error, such as a KL of -1e-17.
    """
    if estimate.low is None or estimate.high is None:
        return estimate
    least, most = min(possible[0], estimate.value), max(possible[1], estimate.value)
    return Estimate(estimate.value, max(estimate.low, least), min(estimate.high, most), estimate.n)


def in_points(share: Estimate) -> Estimate:
    """Return a share, or a difference of shares, in percentage points."""
    low, high = (None if bound is None else 100 * bound for bound in (share.low, share.high))
    return Estimate(100 * share.value, low, high, share.n)


def rank_of(share: float, n: int) -> int:
    """Return the rank, from 0, of the order statistic at `share` among `n` observations: no interpolation."""
    return max(math.ceil(share * n) - 1, 0)


def samples_needed(percentile: int) -> int:
    """Return how many samples admit a percentile: 64 for the 90th, 130 for the 95th, 662 for the 99th.

    MLPerf LoadGen's early-stopping bound: with 99 % confidence, and one sample discarded, the true percentile does
    not exceed the observed one, P(X <= 1) <= 0.01 for X ~ Binomial(n, 1 - percentile / 100).
    """
    tail = 1 - percentile / 100
    n = 2
    while (1 - tail) ** n + n * tail * (1 - tail) ** (n - 1) > 0.01:
        n += 1
    return n


def mean(values: NDArray[np.float64]) -> Estimate:
    """Return the mean of independent observations with Student's t interval; no interval for a single one."""
    n = len(values)
    centre = float(np.mean(values))
    if n < 2:
        return Estimate(centre, None, None, n)
    half = student_t(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(centre, centre - half, centre + half, n)


def mean_over_trainings(trainings: Sequence[Estimate]) -> Estimate:
    """Return the mean of at least two independently trained models' estimates from one test sample.

    Its interval covers two errors: trainings differ, as Student's t interval of the values shows, and all of them are
    measured on the same sample, whose error the mean keeps. Their half-widths add in quadrature on each side (MOVER,
    Zou and Donner 2008). The sample's is the mean of the trainings' own half-widths, the largest that it can be, so
    that the interval covers at least `LEVEL`. Estimates without an interval of their own contribute their value alone.
    """
    centre = mean(np.array([training.value for training in trainings]))
    assert centre.low is not None, "a single training has no spread"
    bounded = [(t.value - t.low, t.high - t.value) for t in trainings if t.low is not None and t.high is not None]
    below, above = (sum(side) / len(side) for side in zip(*bounded)) if bounded else (0.0, 0.0)
    half = centre.value - centre.low
    return Estimate(
        centre.value, centre.value - math.hypot(half, below), centre.value + math.hypot(half, above), centre.n
    )


def median(values: NDArray[np.float64]) -> Estimate:
    """Return the median of independent observations; no interval for fewer than six.

    The interval's ends are the order statistics k and n + 1 - k for the largest k that leaves each tail at most
    2.5 %, P(X < k) for X ~ Binomial(n, 1/2): it holds its level for any distribution (Thompson 1936).
    """
    ordered, n, k = np.sort(values), len(values), 0
    while binomial_cdf(k, n, 0.5) <= (1 - LEVEL) / 2:
        k += 1
    low, high = (float(ordered[k - 1]), float(ordered[n - k])) if k else (None, None)
    return Estimate(float(np.median(ordered)), low, high, n)


def prediction(values: NDArray[np.float64]) -> Estimate:
    """Return the median of positive observations with Student's interval for one more of them, on the logarithms.

    Observations that disagree say more about the next one than about their own middle (Hahn and Meeker 1991, section
    4.8). No interval for a single one.
    """
    logs, n, centre = np.log(values), len(values), float(np.median(values))
    if n < 2:
        return Estimate(centre, None, None, n)
    half = student_t(n - 1) * float(np.std(logs, ddof=1)) * math.sqrt(1 + 1 / n)
    return Estimate(centre, centre * math.exp(-half), centre * math.exp(half), n)


def rate(time_ns: Estimate, samples: int) -> Estimate:
    """Return samples per second from the time that `samples` of them take."""
    low, high = (None if bound is None else samples * 1e9 / bound for bound in (time_ns.high, time_ns.low))
    return Estimate(samples * 1e9 / time_ns.value, low, high, time_ns.n)


def student_t(degrees: int) -> float:
    """Return the two-sided quantile of Student's t at `LEVEL`."""
    return t_quantile(degrees, (1 + LEVEL) / 2)


def binomial_share(successes: int, n: int) -> Estimate:
    """Return the share `successes / n` with Wilson's score interval (Wilson 1927)."""
    z, share = NORMAL_Z, successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0), n)


def exact_share(successes: int, n: int) -> Estimate:
    """Return the share `successes / n` with the exact interval of Clopper and Pearson (1934).

    For shares near 0 or 1, such as that of rare failures: it holds its level for any share. Wilson's interval is
    narrower, and holds 84 % where a sixth of a success is expected.
    """
    tail = (1 - LEVEL) / 2
    low = beta_quantile(successes, n - successes + 1, tail) if successes else 0.0
    high = beta_quantile(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return Estimate(successes / n, low, high, n)


def mean_of_shares(successes: NDArray[np.integer], totals: NDArray[np.integer]) -> Estimate:
    """Return the mean of K independent shares `successes / totals` (K,), each counting alike.

    The interval recovers the variances from Wilson's limits l and u of each share p, as MOVER does: the mean minus
    sqrt(Σ (p − l)²) / K, and plus sqrt(Σ (u − p)²) / K (Zou, Huang and Zhang 2009). `n` is the sum of the totals.
    """
    shares = [binomial_share(int(hits), int(n)) for hits, n in zip(successes, totals)]
    value = sum(share.value for share in shares) / len(shares)
    below = math.sqrt(sum((share.value - (share.low or 0.0)) ** 2 for share in shares)) / len(shares)
    above = math.sqrt(sum(((share.high or 0.0) - share.value) ** 2 for share in shares)) / len(shares)
    return Estimate(value, max(value - below, 0.0), min(value + above, 1.0), int(np.sum(totals)))
