"""Means and quantiles of observations that come in sessions and blocks, with intervals over sessions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

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
    own = np.log(np.bincount(sessions, weights=totals) / np.bincount(sessions, weights=counts))
    rng = np.random.default_rng(seed)
    halves = []
    for among in looks(len(own), plan.first):
        total, alone = (
            float(np.var(np.log((w @ totals) / (w @ counts)), ddof=1)) for w in drawn_weights(sessions, among, rng)
        )
        halves.append(half_width(total, alone, own[:among], cores=plan.cores))
    return _estimate(float(np.mean(data.values)), halves, len(own), plan, len(data.values))


def clustered_quantiles(
    data: Clustered, shares: Sequence[float], *, seed: int = 0, plan: Plan = PLAIN
) -> list[Estimate]:
    """Return the order statistics at `shares` of all observations, with confidence intervals.

    An interval is for the quantile that the calls of infinitely many such sessions would have together, and covers
    what sessions and blocks add by chance. It is no prediction interval: a single further session may well lie
    outside.

    The variance is a hierarchical bootstrap's (sessions, then blocks within them), taken of the logarithm and widened
    for what few sessions do not show (`few_sessions`), which depends on the `plan` they followed.
    """
    order = np.argsort(data.values, kind="stable")
    ordered = data.values[order]
    block, sessions = _blocks(data)
    block = block[order]
    medians, *own = _own_quantiles(ordered, sessions[block], (0.5, *shares))
    rng = np.random.default_rng(seed)
    halves: list[list[float]] = [[] for _ in shares]
    for among in looks(len(medians), plan.first):
        total, alone = (
            np.var(np.log(drawn_quantiles(ordered, block, weights, shares)), axis=1, ddof=1)
            for weights in drawn_weights(sessions, among, rng)
        )
        for row, share in enumerate(shares):
            unseen = of_deviation(medians[:among], float(ndtri(share)))
            halves[row].append(half_width(total[row], alone[row], own[row][:among], cores=plan.cores, unseen=unseen))
    points = [float(ordered[rank_of(share, len(ordered))]) for share in shares]
    return [_estimate(p, h, len(medians), plan, len(ordered)) for p, h in zip(points, halves, strict=True)]


def _blocks(data: Clustered) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each observation's block (of a session), numbered from 0, and each block's session, numbered from 0."""
    width = int(data.block.max()) + 1
    unique, block = np.unique(data.session * width + data.block, return_inverse=True)
    _, sessions = np.unique(unique // width, return_inverse=True)
    return block, sessions


def _own_quantiles(
    ordered: NDArray[np.float64], session: NDArray[np.int64], shares: Sequence[float]
) -> NDArray[np.float64]:
    """Return the logarithm of each session's own order statistics, (shares, sessions)."""
    found = []
    for s in range(int(session.max()) + 1):
        own = ordered[session == s]
        found.append([math.log(own[rank_of(share, len(own))]) for share in shares])
    return np.array(found).T


def _estimate(point: float, halves: Sequence[float], sessions: int, plan: Plan, n: int) -> Estimate:
    if not halves:
        return Estimate(point, None, None, n)
    half = widest(halves, sessions, plan)
    return Estimate(point, point * math.exp(-half), point * math.exp(half), n)
