"""The scatter between runs on one machine, which a single run cannot show.

Sessions that follow each other within seconds are alike. Other load on a machine or its host, its memory and its clock
change within minutes and hours. The interval of a single latency from one run's sessions therefore seldom contains the
mean of many runs (reports/trust). `across_runs` adds a standard deviation between runs, which is assumed at first and
learned from earlier runs if there are any.

The sessions of a run may also disagree more than runs do: a neighbour slows a third of them down, and the median of all
is hardly affected. Then earlier runs are the better evidence of how far a run's value may be from the long-run one, if
this run's value is among theirs.

All quantities are logarithms of the estimated quantity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.statistics.estimates import LEVEL, Estimate
from kdbench.statistics.special import t_quantile

PRESUMED_DEGREES = 4.0
"""Degrees of freedom that the presumed deviation counts for: as much as five runs show."""

MIN_EARLIER_RUNS = 5
"""From so many earlier runs on, their values alone bound an interval: they show more than is presumed."""


@dataclass(frozen=True)
class RunSpread:
    """The standard deviation between runs (of a logarithm), its degrees of freedom, and the earlier runs behind it.

    `max_half_width` is what the values of the earlier runs alone give; None where they are too few, or where this run's
    value is not among theirs.
    """

    deviation: float
    degrees: float = PRESUMED_DEGREES
    runs: int = 0
    max_half_width: float | None = None

    @property
    def half_width(self) -> float:
        """The half-width that the deviation alone gives an interval at `LEVEL`, by Student's t."""
        return t_quantile(self.degrees, (1 + LEVEL) / 2) * self.deviation


def run_spread(estimates: Sequence[Estimate], presumed: float) -> RunSpread:
    """Return the spread of runs from the estimates of several runs, this one the last, and a presumed deviation.

    The variance of the runs' logarithms, less what their own intervals explain, is pooled with the presumed one by
    degrees of freedom: the mean of a scaled inverse chi-squared prior (Gelman et al. 2013, section 2.6).
    """
    known = [(e.value, e.low, e.high) for e in estimates if e.low is not None and e.high is not None]
    degrees = len(known) - 1
    if degrees < 1:
        return RunSpread(presumed)
    logs = np.log([value for value, _, _ in known])
    within = np.array([math.log(high / low) / (2 * 1.96) for _, low, high in known])
    between = max(float(np.var(logs, ddof=1)) - float(np.mean(within**2)), 0.0)
    pooled = _pooled(presumed, between, degrees)
    return RunSpread(math.sqrt(pooled), PRESUMED_DEGREES + degrees, degrees, _max_half_width(logs, presumed))


def _pooled(presumed: float, variance: float, degrees: float) -> float:
    return (PRESUMED_DEGREES * presumed**2 + degrees * variance) / (PRESUMED_DEGREES + degrees)


def _max_half_width(logs: NDArray[np.float64], presumed: float) -> float | None:
    """Return the half-width of a prediction interval for one more run, the last one, if it contains that run.

    A run whose value the earlier ones predict is as far from the long-run value as theirs are.
    """
    earlier = logs[:-1]
    n = len(earlier)
    if n < MIN_EARLIER_RUNS:
        return None
    deviation = math.sqrt(_pooled(presumed, float(np.var(earlier, ddof=1)), n - 1) * (1 + 1 / n))
    half_width = t_quantile(PRESUMED_DEGREES + n - 1, (1 + LEVEL) / 2) * deviation
    return half_width if abs(logs[-1] - earlier.mean()) <= half_width else None


def across_runs(estimate: Estimate, spread: RunSpread) -> Estimate:
    """Return the estimate with an interval for the long-run value: half-widths add in quadrature, up to the largest.

    An estimate without an interval stays as it is.
    """
    if estimate.low is None or estimate.high is None:
        return estimate
    below, above = (
        min(math.hypot(math.log(ratio), spread.half_width), spread.max_half_width or math.inf)
        for ratio in (estimate.value / estimate.low, estimate.high / estimate.value)
    )
    return Estimate(estimate.value, estimate.value * math.exp(-below), estimate.value * math.exp(above), estimate.n)
