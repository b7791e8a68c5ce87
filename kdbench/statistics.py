"""Point estimates with intervals that cover: shares, means, latency quantiles over sessions, paired ratios.

The sampling unit of a latency is the session (a fresh process): sessions differ by more than calls within one do,
so intervals widen with the spread between sessions and their degrees of freedom are sessions - 1. The tests draw
from processes with known truth and count how often each interval holds it.

What no interval can hold is a machine that is another one an hour later: sessions that follow each other within
seconds are alike, and the interval of a single latency speaks for the machine as it was then. A ratio from paired
blocks does not depend on it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri, stdtrit

LEVEL = 0.95
DRAWS = 400  # the standard error of a standard error from 400 draws is 3.5 %
_GATHER = 1 << 22  # elements of the largest temporary array a bootstrap makes


@dataclass(frozen=True)
class Estimate:
    """A value and its `LEVEL` interval `[low, high]` (None where n does not allow one), from `n` observations."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Clustered:
    """Positive observations, the session each belongs to and its block within that session; arrays of one length."""

    values: NDArray[np.float64]
    session: NDArray[np.int64]
    block: NDArray[np.int64]


def order_statistic(values: NDArray[np.float64], share: float) -> float:
    """Return the smallest observation that at least `share` of all do not exceed: no interpolation."""
    rank = max(math.ceil(share * len(values)) - 1, 0)
    return float(np.partition(values, rank)[rank])


def samples_needed(percentile: int) -> int:
    """Return how many samples admit a percentile: 64 for the 90th, 130 for the 95th, 662 for the 99th.

    MLPerf LoadGen's early-stopping bound: with 99 % confidence, and one sample discarded, the true percentile does
    not exceed the observed one, P(X <= 1) <= 0.01 for X ~ Binomial(n, 1 - percentile / 100).
    """
    tail = 1 - percentile / 100
    n = 2
    while bdtr(1, n, tail) > 0.01:
        n += 1
    return n


def binomial_share(successes: int, n: int) -> Estimate:
    """Return the share `successes / n` with Wilson's score interval (Wilson 1927)."""
    z = float(ndtri((1 + LEVEL) / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0), n)


def paired_share_difference(only_first: int, only_second: int, n: int) -> Estimate:
    """Return the difference of two shares over the same `n` samples: (only_first - only_second) / n.

    `only_first` counts the samples on which the first succeeds and the second does not. The interval is the
    adjusted Wald of Bonett and Price (2012), which holds its level for few discordant samples too.
    """
    z = float(ndtri((1 + LEVEL) / 2))
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = z * math.sqrt((first + second - (first - second) ** 2) / (n + 2))
    low, high = first - second - half, first - second + half
    return Estimate((only_first - only_second) / n, max(low, -1.0), min(high, 1.0), n)


def mean(values: NDArray[np.float64]) -> Estimate:
    """Return the mean of independent observations with Student's t interval; no interval for a single one."""
    n = len(values)
    centre = float(np.mean(values))
    if n < 2:
        return Estimate(centre, None, None, n)
    half = _t(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(centre, centre - half, centre + half, n)


def median(values: NDArray[np.float64]) -> Estimate:
    """Return the median of independent observations; no interval for fewer than six.

    The interval's ends are the order statistics k and n + 1 - k for the largest k that leaves each tail at most
    2.5 %, P(X < k) for X ~ Binomial(n, 1/2): it holds its level whatever the distribution (Thompson 1936).
    """
    ordered = np.sort(values)
    n = len(ordered)
    k = 0
    while bdtr(k, n, 0.5) <= (1 - LEVEL) / 2:
        k += 1
    if k == 0:
        return Estimate(float(np.median(ordered)), None, None, n)
    return Estimate(float(np.median(ordered)), float(ordered[k - 1]), float(ordered[n - k]), n)


def rate(time_ns: Estimate, samples: int) -> Estimate:
    """Return samples per second from the time that `samples` of them take."""
    low, high = (None if bound is None else samples * 1e9 / bound for bound in (time_ns.high, time_ns.low))
    return Estimate(samples * 1e9 / time_ns.value, low, high, time_ns.n)


def session_spread(data: Clustered) -> float:
    """Return the coefficient of variation of the sessions' medians; 0 for a single session."""
    medians = _session_medians(data)
    return float(np.std(medians, ddof=1) / np.mean(medians)) if len(medians) > 1 else 0.0


def clustered_mean(data: Clustered, *, seed: int = 0) -> Estimate:
    """Return the mean of all observations; the interval is `clustered_quantiles`' with no quantile term."""
    point = float(np.mean(data.values))
    cluster, sessions = _clusters(data)
    totals = np.bincount(cluster, weights=data.values)
    counts = np.bincount(cluster)
    weights = _block_weights(sessions, seed)
    drawn = (weights @ totals) / (weights @ counts)
    return _log_interval(point, drawn, data, share=0.5)


def clustered_quantiles(data: Clustered, shares: Sequence[float], *, seed: int = 0) -> list[Estimate]:
    """Return the order statistics at `shares` of all observations, with confidence intervals.

    An interval is for the quantile that the calls of infinitely many such sessions would have together, and covers
    what sessions and blocks add by chance. It is no prediction interval: a single further session may well lie
    outside. Nor does it know of drift over longer than the run: sessions that share one state of the machine (its
    clock, temperature, neighbours) cannot show what another state is like.

    The standard error is a hierarchical bootstrap's (sessions, then blocks within them), taken of the logarithm and
    multiplied by sqrt(S / (S - 1)) and Student's t with S - 1 degrees of freedom, since S is small. A quantile away
    from the median lies z standard deviations between sessions off it, and S sessions give that deviation with a
    standard error of s / sqrt(2 (S - 1)), which resampling them cannot show: z times it is added in quadrature.
    """
    order = np.argsort(data.values, kind="stable")
    ordered = data.values[order]
    cluster, sessions = _clusters(data)
    member = cluster[order]
    weights = _block_weights(sessions, seed)
    drawn = np.empty((len(shares), len(weights)))
    step = max(_GATHER // len(ordered), 1)
    for start in range(0, len(weights), step):
        below = np.cumsum(weights[start : start + step, member], axis=1)
        for row, share in enumerate(shares):
            reached = below >= np.ceil(share * below[:, -1:])
            drawn[row, start : start + step] = ordered[np.argmax(reached, axis=1)]
    points = [order_statistic(ordered, share) for share in shares]
    return [_log_interval(p, d, data, share=s) for p, d, s in zip(points, drawn, shares, strict=True)]


def paired_ratio(log_ratios: Sequence[NDArray[np.float64]]) -> Estimate:
    """Return a ratio from the log ratios of paired blocks, one array per session.

    Each session gives the median of its rounds; the ratio is the exponential of the sessions' mean, the interval
    Student's t over sessions, which holds what varies within a session as well. `n` counts the rounds.
    """
    overall = mean(np.array([np.median(rounds) for rounds in log_ratios]))
    rounds = sum(len(ratios) for ratios in log_ratios)
    if overall.low is None or overall.high is None:
        return Estimate(math.exp(overall.value), None, None, rounds)
    return Estimate(math.exp(overall.value), math.exp(overall.low), math.exp(overall.high), rounds)


def _t(degrees: int) -> float:
    return float(stdtrit(degrees, (1 + LEVEL) / 2))


def _session_medians(data: Clustered) -> NDArray[np.float64]:
    return np.array([np.median(data.values[data.session == s]) for s in np.unique(data.session)])


def _clusters(data: Clustered) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each observation's cluster (a block of a session), numbered from 0, and each cluster's session."""
    pairs = np.stack([data.session, data.block])
    unique, cluster = np.unique(pairs, axis=1, return_inverse=True)
    return cluster.reshape(-1), unique[0]


def _block_weights(sessions: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return how often each block is drawn, (DRAWS, blocks): sessions with replacement, then blocks within each.

    A session drawn c times gives c x its number of blocks, drawn from its own.
    """
    rng = np.random.default_rng(seed)
    names, sizes = np.unique(sessions, return_counts=True)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    weights = np.empty((DRAWS, len(sessions)), dtype=np.int64)
    for column, (name, size) in enumerate(zip(names, sizes, strict=True)):
        weights[:, sessions == name] = rng.multinomial(times[:, column] * size, np.full(size, 1 / size))
    return weights


def _log_interval(point: float, drawn: NDArray[np.float64], data: Clustered, *, share: float) -> Estimate:
    medians = np.log(_session_medians(data))
    s = len(medians)
    if s < 2:
        return Estimate(point, None, None, len(data.values))
    resampled = float(np.std(np.log(drawn), ddof=1)) * math.sqrt(s / (s - 1))
    spread = float(ndtri(share)) * float(np.std(medians, ddof=1)) / math.sqrt(2 * (s - 1))
    half = _t(s - 1) * math.hypot(resampled, spread)
    return Estimate(point, point * math.exp(-half), point * math.exp(half), len(data.values))
