"""How wide an interval over a few sessions must be: corrections for what a bootstrap of few sessions does not show.

All quantities are logarithms of the estimated quantity. Five corrections apply to a bootstrap's interval:

- Resampled sessions vary too little, by (S - 1) / S for S sessions. The variance is scaled by S / (S - 1), with
  Student's t at S - 1 degrees of freedom.
- The spread of sessions includes the sampling error of blocks, so drawing sessions and then blocks counts it twice
  (Davison and Hinkley 1997, section 3.8). It is subtracted once, and is the lower limit of the variance.
- Consecutive sessions are correlated, overall or on one core. The variance of their mean is that of an AR(1) series
  with their correlation, or of one such series per core.
- A quantile z standard deviations (between sessions) off the median depends on that deviation s. S sessions estimate it
  with a standard error of s / sqrt(2 (S - 1)), which resampling cannot show.
- Runs differ in ways that are not visible within a run: an uncertainty of type B (GUM, JCGM 100:2008, section 4.3).
  `RESOLUTION` is the lower limit of the standard error.

Adding sessions until an interval is narrow enough favours intervals that are narrow by chance: `widest` corrects this.

In two cases that the data cannot reveal, 95 % intervals cover less than 90 % (benchmarks/coverage_simulated.py):

- Sessions with a correlation of 0.8: 79 % of medians with five sessions, 84 % with eight, 91 % with twelve. No interval
  as wide as for independent sessions can cover more than about 77 %, 85 % and 93 % of means of such series (Neyman and
  Pearson's lemma, benchmarks/coverage_bound.py).
- A share p of sessions is in another state, such as a slow one. With probability (1 - p)^S, a third for p = 1/5 and
  S = 5, no session of a run is in it, and intervals miss quantiles in that state. They cover 88 % of the 95th
  percentiles if a fifth of sessions are slow (92 % with twelve sessions), 87 to 89 % if one in twenty is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.statistics.estimates import NORMAL_Z, student_t

CORRELATION_MARGIN = 0.25  # added to an estimated correlation: five sessions estimate it with a standard error of 0.4
_MAX_CORRELATION = 0.9
# Scatter of runs beyond what their sessions show, as a share (reports/trust): 0.13 % for the speed-up of two
# convolutional nets in calm hours on four virtual cores, 0.58 % in others. On two machines with two virtual cores each,
# intervals that allow for 0.5 % (the first) or 1.25 % (the second) held too seldom; 1.5 % was chosen there. A guest
# does not see what its neighbours do.
RESOLUTION = 0.001
SHARED_RESOLUTION = 0.015


@dataclass(frozen=True)
class Plan:
    """How sessions came about.

    They took turns on `cores` cores, in a fixed order. `first` sessions were planned, and more added until an interval
    was narrow enough; None if none was added, or by another interval. `resolution` is the standard error that no number
    of sessions removes, as a share: SHARED_RESOLUTION on a machine with neighbours. `correlated`: consecutive sessions
    may be alike; not where `runs.across_runs` accounts for a machine that changes more slowly than sessions follow.
    """

    first: int | None = None
    cores: int = 1
    resolution: float = RESOLUTION
    correlated: bool = True

    @property
    def least_width(self) -> float:
        """The width of the narrowest interval there can be, as a share of the value."""
        return 2 * NORMAL_Z * self.resolution


PLAIN = Plan()


def half_width(
    total: float,
    blocks: float,
    sessions: NDArray[np.float64],
    *,
    cores: int = 1,
    correlated: bool = True,
    unseen: float = 0.0,
) -> float:
    """Return the half-width of the interval of a logarithm from two or more sessions.

    `total` is the bootstrap variance over sessions and blocks, `blocks` over blocks alone, with every session once.
    `sessions` are the sessions' values in the order they ran, in turns on `cores`; `unseen` is a variance that neither
    shows (`of_deviation`). `correlated` as in `Plan`.
    """
    s = len(sessions)
    between = max(total - blocks, 0.0) * s / (s - 1)
    variance = (between + unseen) * (inflation(sessions, cores) if correlated else 1.0)
    return max(student_t(s - 1) * math.sqrt(variance), NORMAL_Z * math.sqrt(blocks))


def of_deviation(medians: NDArray[np.float64], z: float) -> float:
    """Return the variance of a quantile z standard deviations off the median due to that deviation alone.

    The deviation is estimated from the sessions' `medians`, which a few slow calls in one session do not affect.
    """
    return z * z * float(np.var(medians, ddof=1)) / (2 * (len(medians) - 1))


def inflation(sessions: NDArray[np.float64], cores: int = 1, margin: float = CORRELATION_MARGIN) -> float:
    """Return by how much correlation raises the variance of the mean over that of independent sessions.

    The larger factor counts: of one series of all sessions, or of one series per core, each S / `cores` long. For an
    AR(1) series var(mean) = f sigma^2 / S, f = 1 + 2 sum_k (1 - k/S) rho^k, and its sample variance is
    (S - f) / (S - 1) sigma^2 on average; the result is their quotient. `margin` is added to the estimated correlation.
    """
    s = len(sessions)
    f = max(_of_series(sessions, lag, s / lag, margin) for lag in {1, cores} if lag < s)
    return f * (s - 1) / (s - f)


def _of_series(sessions: NDArray[np.float64], lag: int, length: float, margin: float) -> float:
    """Return f of series of `length` whose neighbours are `lag` sessions apart.

    The lag-1 correlation r of S values is rho - (1 + 4 rho) / S on average (Kendall 1954); (S r + 1) / (S - 4) would
    undo this bias. The divisor is S - 5 - lag instead, because the variance rises steeply with rho, and at least 6,
    because few values show mostly chance. The sum with `margin` is limited to 0 to 0.9.
    """
    s = len(sessions)
    off = sessions - sessions.mean()
    square = float(off @ off)
    correlation = float(off[lag:] @ off[:-lag]) / square if square else 0.0
    rho = min(max((s * correlation + 1) / max(s - 5 - lag, 6) + margin, 0.0), _MAX_CORRELATION)
    lags = np.arange(1, math.ceil(length))
    return 1 + 2 * float(((1 - lags / length) * rho**lags).sum())


def interim_sizes(sessions: int, first: int | None) -> list[int]:
    """Return the numbers of sessions to compute a half-width of: all, and the first ones if more were added."""
    if sessions < 2:
        return []
    fixed = sessions if first is None else max(first, 2)  # one session shows no spread
    return [sessions] if fixed >= sessions else [sessions, fixed]


def widest(halves: Sequence[float], sessions: int, plan: Plan) -> float:
    """Return the half-width from `interim_sizes`, where sessions were added until an interval was narrow enough.

    Stein (1945): the standard error of the `first` sessions scaled by sqrt(first / sessions), with their degrees of
    freedom, is valid for any number of sessions it led to. The result is the larger of that and the half-width of all,
    with the resolution added.
    """
    widths = (half * math.sqrt(among / sessions) for half, among in zip(halves, interim_sizes(sessions, plan.first)))
    return math.hypot(max(widths), NORMAL_Z * plan.resolution)
