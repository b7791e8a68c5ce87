"""Means, quantiles and paired ratios of observations in sessions and blocks, with intervals over sessions.

The hierarchical bootstrap draws sessions with replacement, then blocks within each session, as weights of blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kdbench.statistics.estimates import Estimate, rank_of
from kdbench.statistics.few_sessions import PLAIN, Plan, half_width, interim_sizes, of_deviation, widest
from kdbench.statistics.special import betainc, normal_quantile

DRAWS = 400  # the standard error of a standard error from 400 draws is 3.5 %
MIN_BLOCKS, MIN_SESSIONS = 2, 4  # that are left where disturbed blocks are not used
_HARMLESS, _HARMLESS_PER_S = 2, 100  # times that a block may lose its core: at least, and for each second of it
_TABLE = 1 << 22  # elements of the largest table of counts


@dataclass(frozen=True)
class Clustered:
    """Positive observations, the session each belongs to and its block within that session; arrays of one length.

    Sessions are numbered in the order they ran. `preempted` counts how often the observation's block lost its core to
    other work; None if unknown.
    """

    values: NDArray[np.float64]
    session: NDArray[np.int64]
    block: NDArray[np.int64]
    preempted: NDArray[np.int64] | None = None


def undisturbed(data: Clustered) -> Clustered:
    """Return the times, in ns, of rarely preempted blocks; of all blocks if too few sessions would remain.

    The time of a call that another process interrupts depends on that process, not on the model. A session remains if
    MIN_BLOCKS of its blocks do; MIN_SESSIONS sessions have to remain, or all if there are fewer.
    """
    if data.preempted is None or not data.preempted.any():
        return data
    block, _ = _blocks(data)
    block_ns = np.bincount(block, weights=data.values).astype(np.float64)
    kept = rarely_preempted(data.preempted, block_ns[block])
    sessions = np.unique(data.session)
    blocks = {s: len(np.unique(data.block[kept & (data.session == s)])) for s in sessions}
    usable = [s for s in sessions if blocks[s] >= MIN_BLOCKS]
    if len(usable) < min(MIN_SESSIONS, len(sessions)):
        return data
    kept &= np.isin(data.session, usable)
    return Clustered(data.values[kept], data.session[kept], data.block[kept])


def rarely_preempted(preempted: NDArray[np.int64], block_ns: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether blocks of these lengths were preempted so rarely that it does no harm.

    If one other process is busy, the scheduler preempts a process some 30 to 150 times a second, for less than a
    millisecond. Dropping such blocks costs medians more sessions than it gains. Dropping the blocks in which another
    program shared the core halves the intervals of 95th percentiles (reports/trust).
    """
    return np.asarray(preempted <= np.maximum(_HARMLESS, _HARMLESS_PER_S * block_ns / 1e9))


def session_spread(data: Clustered) -> float:
    """Return the coefficient of variation of the sessions' medians; 0 for a single session."""
    medians = [np.median(data.values[data.session == s]) for s in np.unique(data.session)]
    return float(np.std(medians, ddof=1) / np.mean(medians)) if len(medians) > 1 else 0.0


def clustered_mean(data: Clustered, *, seed: int = 0, plan: Plan = PLAIN) -> Estimate:
    """Return the mean of all observations; the interval is `clustered_quantiles`' with no quantile term."""
    block, sessions = _blocks(data)
    totals, counts = np.bincount(block, weights=data.values), np.bincount(block)
    means = np.log(np.bincount(sessions, weights=totals) / np.bincount(sessions, weights=counts))
    rng = np.random.default_rng(seed)
    halves = []
    for among in interim_sizes(len(means), plan.first):
        total, blocks_alone = (
            float(np.var(np.log((w @ totals) / (w @ counts)), ddof=1)) for w in drawn_weights(sessions, among, rng)
        )
        halves.append(half_width(total, blocks_alone, means[:among], cores=plan.cores, correlated=plan.correlated))
    return _estimate(float(np.mean(data.values)), halves, len(means), plan, len(data.values))


def clustered_quantiles(
    data: Clustered, shares: Sequence[float], *, seed: int = 0, plan: Plan = PLAIN
) -> list[Estimate]:
    """Return the order statistics at `shares` of all observations, with confidence intervals.

    An interval is for the quantile over infinitely many such sessions. It covers the chance of sessions and blocks, and
    is not a prediction interval: a single further session may well fall outside.

    The variance is that of the logarithm in a hierarchical bootstrap (sessions, then blocks within them), widened for
    what few sessions of this `plan` do not show (`few_sessions`).
    """
    order = np.argsort(data.values, kind="stable")
    ordered = data.values[order]
    block, sessions = _blocks(data)
    block = block[order]
    session = sessions[block]
    by_session = [ordered[session == s] for s in range(int(session.max()) + 1)]
    medians, *quantiles = (
        np.log([values[rank_of(share, len(values))] for values in by_session]) for share in (0.5, *shares)
    )
    rng = np.random.default_rng(seed)
    halves: list[list[float]] = [[] for _ in shares]
    for among in interim_sizes(len(medians), plan.first):
        total, blocks_alone = (
            np.var(np.log(drawn_quantiles(ordered, block, weights, shares)), axis=1, ddof=1)
            for weights in drawn_weights(sessions, among, rng)
        )
        for row, share in enumerate(shares):
            unseen = of_deviation(medians[:among], normal_quantile(share))
            halves[row].append(
                half_width(
                    total[row],
                    blocks_alone[row],
                    quantiles[row][:among],
                    cores=plan.cores,
                    correlated=plan.correlated,
                    unseen=unseen,
                )
            )
    points = [float(ordered[rank_of(share, len(ordered))]) for share in shares]
    return [_estimate(p, h, len(medians), plan, len(ordered)) for p, h in zip(points, halves)]


def paired_ratio(log_ratios: Sequence[NDArray[np.float64]], *, plan: Plan = PLAIN) -> Estimate:
    """Return a ratio from the log ratios of paired blocks, one array per session in the order they ran, of any length.

    Each session contributes the median of its rounds; the ratio is the exponential of the sessions' mean. The variance
    is that of the hierarchical bootstrap (sessions, then rounds within them) in the limit of infinitely many draws,
    widened for what few sessions of this `plan` do not show (`few_sessions`). `n` counts rounds.
    """
    ordered = [np.sort(rounds) for rounds in log_ratios]
    medians = np.array([(rounds[(len(rounds) - 1) // 2] + rounds[len(rounds) // 2]) / 2 for rounds in ordered])
    redrawn = np.array([_redrawn_median(rounds) for rounds in ordered])
    halves = []
    for among in interim_sizes(len(medians), plan.first):
        blocks = float(redrawn[:among, 1].mean()) / among
        total = blocks + float(np.var(redrawn[:among, 0])) / among
        halves.append(half_width(total, blocks, medians[:among], cores=plan.cores, correlated=plan.correlated))
    return _estimate(math.exp(medians.mean()), halves, len(medians), plan, sum(map(len, log_ratios)))


def _blocks(data: Clustered) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the block of each observation (unique across sessions) and the session of each block, both from 0."""
    width = int(data.block.max()) + 1
    unique, block = np.unique(data.session * width + data.block, return_inverse=True)
    _, sessions = np.unique(unique // width, return_inverse=True)
    return block, sessions


def _estimate(point: float, halves: Sequence[float], sessions: int, plan: Plan, n: int) -> Estimate:
    if not halves:
        return Estimate(point, None, None, n)
    half = widest(halves, sessions, plan)
    return Estimate(point, point * math.exp(-half), point * math.exp(half), n)


def _redrawn_median(ordered: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and variance of the median of values drawn with replacement (Maritz and Jarrett 1978)."""
    weights = _median_weights(len(ordered))
    mean = float(weights @ ordered)
    return mean, float(weights @ (ordered - mean) ** 2)


@lru_cache
def _median_weights(n: int) -> NDArray[np.float64]:
    """Return the probability of each of `n` ordered values to be the median of `n` draws."""
    weights: NDArray[np.float64] = np.diff(betainc((n + 1) / 2, (n + 1) / 2, np.arange(n + 1) / n))
    return weights


def drawn_weights(
    sessions: NDArray[np.int64], among: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how often each block is drawn, twice (DRAWS, blocks): sessions, then blocks; and blocks alone.

    `sessions` is each block's session, numbered from 0; the first `among` of them are drawn from, and the blocks of
    the others have weight 0. A session drawn c times gives c x its number of blocks, drawn from that session; drawing
    blocks alone takes every session once.
    """
    times = rng.multinomial(among, np.full(among, 1 / among), size=DRAWS)
    return _weights(sessions, times, rng), _weights(sessions, np.ones_like(times), rng)


def _weights(sessions: NDArray[np.int64], times: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how often each block is drawn, (DRAWS, blocks), when each session is drawn `times` (DRAWS, sessions)."""
    weights = np.zeros((DRAWS, len(sessions)))
    for session, drawn in enumerate(times.T):
        blocks = np.flatnonzero(sessions == session)
        rows = np.repeat(np.arange(DRAWS), drawn * len(blocks))
        cells = rows * len(blocks) + rng.integers(len(blocks), size=len(rows))
        weights[:, blocks] = np.bincount(cells, minlength=DRAWS * len(blocks)).reshape(DRAWS, len(blocks))
    return weights


def drawn_quantiles(
    ordered: NDArray[np.float64], block: NDArray[np.int64], weights: NDArray[np.float64], shares: Sequence[float]
) -> NDArray[np.float64]:
    """Return the order statistics at `shares` of every draw, (shares, DRAWS).

    `ordered` are all observations in rising order, `block` the block of each. Weights are added up over bins of
    neighbouring ranks first, and over single observations only within the bin that the share is reached in: work of
    DRAWS x blocks x sqrt(n) in place of DRAWS x n, and the same result.
    """
    n, blocks = len(ordered), weights.shape[1]
    width = max(math.isqrt(n), math.ceil(n * blocks / _TABLE))
    bins = math.ceil(n / width)
    counts = np.bincount(block * bins + np.arange(n) // width, minlength=blocks * bins).reshape(blocks, bins)
    reached = np.cumsum(weights @ counts.astype(np.float64), axis=1)
    draws = np.arange(len(weights))
    quantiles = np.empty((len(shares), len(weights)))
    for row, share in enumerate(shares):
        rank = np.ceil(share * reached[:, -1])
        bin_ = np.argmax(reached >= rank[:, None], axis=1)
        before = np.where(bin_ > 0, reached[draws, bin_ - 1], 0.0)
        positions = np.minimum(bin_[:, None] * width + np.arange(width), n - 1)
        within = np.cumsum(weights[draws[:, None], block[positions]], axis=1)
        quantiles[row] = ordered[positions[draws, np.argmax(within >= (rank - before)[:, None], axis=1)]]
    return quantiles
