"""The scatter between runs on one machine, which a single run cannot show.

Sessions that follow each other within seconds are alike. A machine's neighbours, its memory and its clock change within
minutes and hours, so the interval of a single latency from one run's sessions seldom holds the mean of many runs
(reports/trust). `across_runs` adds a standard deviation between runs, which is assumed at first and learned from
earlier runs if there are any.

All quantities are logarithms of the estimated quantity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.statistics.estimates import LEVEL, Estimate
from kdbench.statistics.special import t_quantile

PRESUMED_DEGREES = 4.0
"""Degrees of freedom that the presumed deviation counts for: as much as five runs show."""


@dataclass(frozen=True)
class RunSpread:
    """The standard deviation between runs (of a logarithm), its degrees of freedom, and the earlier runs behind it."""

    deviation: float
    degrees: float = PRESUMED_DEGREES
    runs: int = 0

    @property
    def half_width(self) -> float:
        """The half-width that the deviation alone gives an interval at `LEVEL`, by Student's t."""
        return t_quantile(self.degrees, (1 + LEVEL) / 2) * self.deviation


def run_spread(estimates: Sequence[Estimate], presumed: float) -> RunSpread:
    """Return the spread of runs from the estimates of several runs, this one included, and a presumed deviation.

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
    pooled = (PRESUMED_DEGREES * presumed**2 + degrees * between) / (PRESUMED_DEGREES + degrees)
    return RunSpread(math.sqrt(pooled), PRESUMED_DEGREES + degrees, degrees)


def across_runs(estimate: Estimate, spread: RunSpread) -> Estimate:
    """Return the estimate with an interval for the long-run value: half-widths add in quadrature.

    An estimate without an interval stays as it is.
    """
    if estimate.low is None or estimate.high is None:
        return estimate
    below, above = (
        math.hypot(math.log(ratio), spread.half_width)
        for ratio in (estimate.value / estimate.low, estimate.high / estimate.value)
    )
    return Estimate(estimate.value, estimate.value * math.exp(-below), estimate.value * math.exp(above), estimate.n)
