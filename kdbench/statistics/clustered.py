"""Means, quantiles and paired ratios of observations in sessions and blocks, with intervals over sessions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtri

from kdbench.statistics.bootstrap import drawn_quantiles, drawn_weights
from kdbench.statistics.estimates import Estimate, rank_of
from kdbench.statistics.few_sessions import PLAIN, Plan, half_width, looks, of_deviation, widest


@dataclass(frozen=True)
class Clustered:
    """Positive observations, the session each belongs to and its block within that session; arrays of one length.

    Sessions are numbered in the order they ran.
    """

    values: NDArray[np.float64]
    session: NDArray[np.int64]
    block: NDArray[np.int64]


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
    for among in looks(len(means), plan.first):
        total, blocks_alone = (
            float(np.var(np.log((w @ totals) / (w @ counts)), ddof=1)) for w in drawn_weights(sessions, among, rng)
        )
        halves.append(half_width(total, blocks_alone, means[:among], cores=plan.cores))
    return _estimate(float(np.mean(data.values)), halves, len(means), plan, len(data.values))


def clustered_quantiles(
    data: Clustered, shares: Sequence[float], *, seed: int = 0, plan: Plan = PLAIN
) -> list[Estimate]:
    """Return the order statistics at `shares` of all observations, with confidence intervals.

    An interval is for the quantile of the calls of infinitely many such sessions, and covers the chance of sessions and
    blocks. It is not a prediction interval: a single further session may well lie outside.

    The variance is a hierarchical bootstrap's (sessions, then blocks within them), taken of the logarithm and widened
    for what few sessions do not show (`few_sessions`), which depends on the `plan` they followed.
    """
    order = np.argsort(data.values, kind="stable")
    ordered = data.values[order]
    block, sessions = _blocks(data)
    block = block[order]
    medians, *quantiles = _session_quantiles(ordered, sessions[block], (0.5, *shares))
    rng = np.random.default_rng(seed)
    halves: list[list[float]] = [[] for _ in shares]
    for among in looks(len(medians), plan.first):
        total, blocks_alone = (
            np.var(np.log(drawn_quantiles(ordered, block, weights, shares)), axis=1, ddof=1)
            for weights in drawn_weights(sessions, among, rng)
        )
        for row, share in enumerate(shares):
            unseen = of_deviation(medians[:among], float(ndtri(share)))
            halves[row].append(
                half_width(total[row], blocks_alone[row], quantiles[row][:among], cores=plan.cores, unseen=unseen)
            )
    points = [float(ordered[rank_of(share, len(ordered))]) for share in shares]
    return [_estimate(p, h, len(medians), plan, len(ordered)) for p, h in zip(points, halves, strict=True)]


def paired_ratio(log_ratios: Sequence[NDArray[np.float64]], *, plan: Plan = PLAIN) -> Estimate:
    """Return a ratio from the log ratios of paired blocks, one array per session in the order they ran, of any length.

    Each session gives the median of its rounds; the ratio is the exponential of the sessions' mean. The variance is
    the hierarchical bootstrap's (sessions, then rounds within them) in the limit of infinitely many draws, widened
    for what few sessions do not show (`few_sessions`), which depends on the `plan` they followed; `n` counts rounds.
    """
    medians = np.array([np.median(rounds) for rounds in log_ratios])
    redrawn = np.array([_redrawn_median(rounds) for rounds in log_ratios])
    halves = [
        _paired_half_width(medians[:among], redrawn[:among], plan.cores) for among in looks(len(medians), plan.first)
    ]
    value = float(medians.mean())
    rounds = sum(len(ratios) for ratios in log_ratios)
    if not halves:
        return Estimate(math.exp(value), None, None, rounds)
    half = widest(halves, len(medians), plan)
    return Estimate(math.exp(value), math.exp(value - half), math.exp(value + half), rounds)


def _blocks(data: Clustered) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each observation's block (of a session), numbered from 0, and each block's session, numbered from 0."""
    width = int(data.block.max()) + 1
    unique, block = np.unique(data.session * width + data.block, return_inverse=True)
    _, sessions = np.unique(unique // width, return_inverse=True)
    return block, sessions


def _session_quantiles(
    ordered: NDArray[np.float64], session: NDArray[np.int64], shares: Sequence[float]
) -> NDArray[np.float64]:
    """Return the logarithm of each session's own order statistics, (shares, sessions)."""
    quantiles = []
    for s in range(int(session.max()) + 1):
        values = ordered[session == s]
        quantiles.append([math.log(values[rank_of(share, len(values))]) for share in shares])
    return np.array(quantiles).T


def _estimate(point: float, halves: Sequence[float], sessions: int, plan: Plan, n: int) -> Estimate:
    if not halves:
        return Estimate(point, None, None, n)
    half = widest(halves, sessions, plan)
    return Estimate(point, point * math.exp(-half), point * math.exp(half), n)


def _paired_half_width(medians: NDArray[np.float64], redrawn: NDArray[np.float64], cores: int) -> float:
    """Return the half-width from sessions' `medians` (S,) and their mean and variance when redrawn (S, 2)."""
    s = len(medians)
    blocks = float(redrawn[:, 1].mean()) / s
    return half_width(blocks + float(np.var(redrawn[:, 0])) / s, blocks, medians, cores=cores)


def _redrawn_median(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and variance of the median of `values` drawn with replacement (Maritz and Jarrett 1978)."""
    n = len(values)
    ordered = np.sort(values)
    weights = np.diff(betainc((n + 1) / 2, (n + 1) / 2, np.arange(n + 1) / n))
    mean = float(weights @ ordered)
    return mean, float(weights @ (ordered - mean) ** 2)
