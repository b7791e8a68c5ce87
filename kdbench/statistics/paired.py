"""Ratios of two models' times from blocks in which they ran side by side."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from kdbench.statistics.estimates import Estimate
from kdbench.statistics.few_sessions import PLAIN, Plan, half_width, looks, widest


def paired_ratio(log_ratios: Sequence[NDArray[np.float64]], *, plan: Plan = PLAIN) -> Estimate:
    """Return a ratio from the log ratios of paired blocks, one array per session in the order they ran, of any length.

    Each session gives the median of its rounds; the ratio is the exponential of the sessions' mean. The variance is
    the hierarchical bootstrap's (sessions, then rounds within them) in the limit of infinitely many draws, widened
    for what few sessions do not show (`few_sessions`), which depends on the `plan` they followed; `n` counts rounds.
    """
    medians = np.array([np.median(rounds) for rounds in log_ratios])
    redrawn = np.array([_redrawn_median(rounds) for rounds in log_ratios])
    halves = [_half_width(medians[:among], redrawn[:among], plan.cores) for among in looks(len(medians), plan.first)]
    value = float(medians.mean())
    rounds = sum(len(ratios) for ratios in log_ratios)
    if not halves:
        return Estimate(math.exp(value), None, None, rounds)
    half = widest(halves, len(medians), plan)
    return Estimate(math.exp(value), math.exp(value - half), math.exp(value + half), rounds)


def _half_width(medians: NDArray[np.float64], redrawn: NDArray[np.float64], cores: int) -> float:
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
