"""Results of the repeats: images per second, ratios with intervals, goals, and when a one-off cost has paid off."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench import statistics
from kdbench.statistics import Estimate

Repeat = Mapping[str, Mapping[str, float]]  # the results of one repeat, by contestant


@dataclass(frozen=True)
class Goal:
    """A bound on how long a step of `slow` takes, in steps of `fast`: at most, or with `at_least` at least."""

    title: str
    slow: str
    fast: str
    bound: float
    at_least: bool

    def met(self, ratio: float) -> bool:
        """Return whether a ratio of the two is within the bound."""
        return ratio >= self.bound if self.at_least else ratio <= self.bound


GOALS = (
    Goal("cached KD over plain cross-entropy", "kd", "labels", 1.10, at_least=False),
    Goal("hint over plain cross-entropy", "hint", "labels", 1.60, at_least=False),
    Goal("plain loop over kdbench, both fp32", "plain", "kd-32", 2.0, at_least=True),
    Goal("plain loop over kdbench's defaults", "plain", "kd", 4.0, at_least=True),
    Goal("torchdistill over kdbench, both fp32", "torchdistill", "kd-32", 2.0, at_least=True),
    Goal("torchdistill over kdbench's defaults", "torchdistill", "kd", 4.0, at_least=True),
)


def ratio(repeats: Sequence[Repeat], slow: str, fast: str) -> Estimate | None:
    """Return the median over repeats of how many steps of `fast` go into one of `slow`; None if either is not there.

    Each repeat's ratio is of two processes that ran within a minute or two, in an order that changes.
    """
    values = _ratios(repeats, slow, fast)
    return statistics.median(np.array(values)) if values else None


def spread(repeats: Sequence[Repeat], slow: str, fast: str) -> tuple[float, float]:
    """Return the smallest and the largest of the repeats' ratios, for too few repeats for an interval."""
    values = _ratios(repeats, slow, fast)
    return min(values), max(values)


def _ratios(repeats: Sequence[Repeat], slow: str, fast: str) -> list[float]:
    return [repeat[slow]["step_s"] / repeat[fast]["step_s"] for repeat in repeats if slow in repeat and fast in repeat]


def images_per_s(repeats: Sequence[Repeat], contestant: str, batch: int) -> float | None:
    """Return the median over repeats of the images that a contestant takes in a second."""
    values = [_rate(repeat[contestant], batch) for repeat in repeats if contestant in repeat]
    return float(np.median(values)) if values else None


def once_s(repeats: Sequence[Repeat], contestant: str) -> float | None:
    """Return the median over repeats of what a contestant's first steps take beyond as many later ones."""
    values = [repeat[contestant]["once_s"] for repeat in repeats if contestant in repeat]
    return float(np.median(values)) if values else None


def epochs_to_pay(fill_s: float, live_s: float, cached_s: float) -> float:
    """Return after how many epochs of `live_s` and `cached_s` a cache that took `fill_s` to fill has paid."""
    return fill_s / (live_s - cached_s) if live_s > cached_s else math.inf


def _rate(timing: Mapping[str, float], batch: int) -> float:
    return timing["images_per_s"] if "images_per_s" in timing else batch / timing["step_s"]
