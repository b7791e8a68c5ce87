"""How wide an interval over a few sessions must be: what a bootstrap of so few does not show.

Everything here is on the logarithm of the estimated quantity. Five corrections are added to a bootstrap's interval:

- S sessions drawn from themselves vary too little by (S - 1) / S, and S is small: S / (S - 1), and Student's t with
  S - 1 degrees of freedom.
- What blocks add by chance is in the spread of the sessions already, so drawing sessions and then blocks counts it
  twice (Davison and Hinkley 1997, section 3.8). It is subtracted once, and remains the lower limit of the variance.
- Sessions in a row are alike, and so are those that follow each other on one core: the variance of their mean is that
  of an AR(1) series with their correlation, or of as many series as cores.
- A quantile away from the median lies z standard deviations between sessions off it, and S sessions give that
  deviation s with a standard error of s / sqrt(2 (S - 1)), which resampling them cannot show.
- Runs differ in ways that are not visible within a run. That is an uncertainty of type B in the terms of the GUM (JCGM
  100:2008, section 4.3), and the lower limit of the standard error: `RESOLUTION`.

Sessions that are added until an interval is narrow enough stop early when it is narrow by chance: see `widest`.

Some truths are not in the data, and then 95 % intervals hold less than 90 % of them (benchmarks/coverage_simulated.py):

- Sessions whose correlation is 0.8: 79 % of medians are held with five sessions, 84 % with eight, 91 % with twelve. No
  interval of the same width where sessions are independent could hold more than about 77 %, 85 % and 93 % of means of
  such series (Neyman and Pearson's lemma, benchmarks/coverage_bound.py).
- A state that a share p of sessions is in: with probability (1 - p)^S no session was in it, a third of the time for a
  fifth of sessions and S = 5. Quantiles that lie in that state are then missed, and only then: 88 % are held of the
  95th percentiles if a fifth of sessions are slow (92 % with twelve sessions), 87 to 89 % if one in twenty is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.statistics.estimates import normal_z, student_t

ALIKE = 0.25  # added to the correlation of sessions: five sessions show theirs with a standard error of 0.4
_MOST_ALIKE = 0.9
# How far runs of one comparison scatter beyond what their sessions show, as a share (reports/trust): the speed-up of
# two convolutional nets by 0.13 % in calm hours, by 0.58 % in others: a guest does not see what its neighbours do.
RESOLUTION = 0.001
SHARED_RESOLUTION = 0.005


@dataclass(frozen=True)
class Plan:
    """How sessions came about.

    They took turns on `cores` cores: each ran where the one `cores` before it had. `first` sessions were planned; more
    were added until an interval was narrow enough. None: no session was added. `resolution` is the standard error that
    no number of sessions takes away, as a share: SHARED_RESOLUTION on a machine with neighbours.
    """

    first: int | None = None
    cores: int = 1
    resolution: float = RESOLUTION

    @property
    def least_width(self) -> float:
        """The width of the narrowest interval there can be, as a share of the value."""
        return 2 * normal_z() * self.resolution


PLAIN = Plan()


def half_width(
    total: float, blocks: float, sessions: NDArray[np.float64], *, cores: int = 1, unseen: float = 0.0
) -> float:
    """Return the half-width of the interval of a logarithm from two or more sessions.

    `total` is the bootstrap variance with sessions and then blocks drawn, `blocks` with every session taken once and
    blocks drawn; `sessions` holds each session's own value in the order they ran, in turns on `cores`; `unseen` is a
    variance that neither shows (`of_deviation`).
    """
    s = len(sessions)
    between = max(total - blocks, 0.0) * s / (s - 1)
    of_sessions = student_t(s - 1) * math.sqrt((between + unseen) * inflation(sessions, cores))
    return max(of_sessions, normal_z() * math.sqrt(blocks))


def of_deviation(medians: NDArray[np.float64], z: float) -> float:
    """Return the variance that a quantile z standard deviations off the median has from that deviation alone.

    `medians` are the sessions', which tell how far sessions lie apart, whatever a few slow calls in one do.
    """
    return z * z * float(np.var(medians, ddof=1)) / (2 * (len(medians) - 1))


def inflation(sessions: NDArray[np.float64], cores: int = 1, alike: float = ALIKE) -> float:
    """Return by how much correlation raises the variance of the mean over that of independent sessions.

    Either neighbours are alike, or sessions in a row on one of the `cores` that they take turns on: the larger factor
    counts. For an AR(1) series var(mean) = f sigma^2 / S, f = 1 + 2 sum_k (1 - k/S) rho^k, and its sample variance is
    (S - f) / (S - 1) sigma^2 on average: the quotient of both is returned. For one series a core, each is S / `cores`
    long. `alike` is added to the correlation that is seen.
    """
    s = len(sessions)
    f = max(_of_series(sessions, lag, s / lag, alike) for lag in {1, cores} if lag < s)
    return f * (s - 1) / (s - f)


def _of_series(sessions: NDArray[np.float64], lag: int, length: float, alike: float) -> float:
    """Return f of series of `length` whose neighbours lie `lag` sessions apart.

    The lag-1 correlation r of S values is rho - (1 + 4 rho) / S on average (Kendall 1954), which (S r + 1) / (S - 4)
    would undo. Taken is a divisor of S - 6, because the variance rises steeply with rho, and of 6 at least, because few
    values show little else than chance; one less for each lag more. The sum with `alike` is held within 0 and 0.9.
    """
    s = len(sessions)
    off = sessions - sessions.mean()
    square = float(off @ off)
    correlation = float(off[lag:] @ off[:-lag]) / square if square else 0.0
    rho = min(max((s * correlation + 1) / max(s - 5 - lag, 6) + alike, 0.0), _MOST_ALIKE)
    lags = np.arange(1, math.ceil(length))
    return 1 + 2 * float(((1 - lags / length) * rho**lags).sum())


def looks(sessions: int, first: int | None) -> list[int]:
    """Return the numbers of sessions to compute a half-width of: all, and the first ones if more were added."""
    if sessions < 2:
        return []
    fixed = sessions if first is None else max(first, 2)  # one session shows no spread
    return [sessions] if fixed >= sessions else [sessions, fixed]


def widest(halves: Sequence[float], sessions: int, plan: Plan) -> float:
    """Return the half-width from those of `looks`, when sessions were added until an interval was narrow enough.

    Stein (1945): the standard error of the `first` sessions scaled by sqrt(first / sessions), with their degrees of
    freedom, holds for whatever number of sessions it led to. The larger of that and the half-width of all is taken,
    and the resolution added.
    """
    widths = (
        half * math.sqrt(among / sessions) for half, among in zip(halves, looks(sessions, plan.first), strict=True)
    )
    return math.hypot(max(widths), normal_z() * plan.resolution)
