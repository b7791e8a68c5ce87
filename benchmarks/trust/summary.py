"""Summary of many repeats: the long-run value, the scatter of repeats around it, and how many intervals contain it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench import statistics
from kdbench.statistics import Estimate


@dataclass(frozen=True)
class Scatter:
    """Repeats of one positive quantity: their geometric mean, the standard deviation of their logarithms, their ends.

    `sd` is None for a single repeat.
    """

    long_run: float
    sd: float | None
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Coverage:
    """How many intervals contain the long-run value, as a share with its interval, and the median half-width."""

    held: int
    n: int
    share: Estimate
    half_width: float


@dataclass(frozen=True)
class Answer:
    """One repeat's value with its interval."""

    value: float
    low: float
    high: float


def scatter(values: Sequence[float]) -> Scatter:
    """Return how the repeats `values` scatter."""
    logs = np.log(values)
    sd = float(np.std(logs, ddof=1)) if len(logs) > 1 else None
    return Scatter(math.exp(float(np.mean(logs))), sd, min(values), max(values), len(logs))


def coverage(answers: Sequence[Answer], truth: float) -> Coverage:
    """Return how many of `answers` hold `truth`."""
    held = sum(a.low <= truth <= a.high for a in answers)
    half_widths = [(a.high - a.low) / 2 / a.value for a in answers]
    share = statistics.binomial_share(held, len(answers))
    return Coverage(held, len(answers), share, float(np.median(half_widths)))
