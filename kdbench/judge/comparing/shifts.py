"""What lies between two numbers: a change, and the interval that it lies within.

A change is new over base, or new minus base in percentage points where the metric is a share.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from kdbench.results.comparisons import Way
from kdbench.results.metrics import Metric
from kdbench.results.records import Interval, Measurement, Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Delta:
    """A change that lies within [low, high], and how it was found.

    `anchor` is the model that both numbers stand beside; `note` what should be said of the change in any case.
    """

    value: float
    low: float
    high: float
    way: Way
    n: int | None = None
    anchor: str = ""
    note: str = ""

    @property
    def interval(self) -> Interval | None:
        """The interval as a comparison holds it; None for what has no width."""
        return Interval(low=self.low, high=self.high) if self.low < self.high else None


@dataclass(frozen=True)
class NotComparable:
    """Why two numbers cannot be compared, and what would help."""

    reason: str
    remedy: str = ""


def unchanged(metric: Metric, way: Way, *, n: int | None = None, note: str = "", anchor: str = "") -> Delta:
    """Return no change, without an interval."""
    none = 0.0 if metric.in_points else 1.0
    return Delta(none, none, none, way, n, anchor, note)


def counted(base: float, new: float) -> Delta | NotComparable:
    """Return the change of two counts: there is nothing uncertain about it."""
    if base == 0:
        return Delta(1, 1, 1, "exact") if new == 0 else NotComparable("the base is 0", "compare another metric")
    return Delta(new / base, new / base, new / base, "exact")


def on_their_own(
    base: Measurement, new: Measurement, metric: Metric, bounds: tuple[Interval, Interval], run_to_run: float
) -> Delta | NotComparable:
    """Return the change of two numbers with independent intervals, by `recovered`; of ratios, by their logarithms.

    Where the numbers have no intervals but repeat within some share, the extremes of both. `run_to_run` is the
    standard deviation of each number between runs that its interval does not show, as a share.
    """
    assert base.value is not None
    assert new.value is not None
    before, after = bounds
    n = new.n
    if metric.in_points:
        low, high = recovered((base.value, before.low, before.high), (new.value, after.low, after.high))
        return Delta(100 * (new.value - base.value), 100 * low, 100 * high, "separate", n)
    if min(before.low, after.low) <= 0:
        return NotComparable("an interval reaches to zero", "measure in more sessions")
    change = new.value / base.value
    if metric.repeatability is not None:
        return Delta(change, after.low / before.high, after.high / before.low, "separate", n)
    low, high = recovered(
        (math.log(base.value), math.log(before.low), math.log(before.high)),
        (math.log(new.value), math.log(after.low), math.log(after.high)),
        extra=math.sqrt(2) * _Z * run_to_run,
    )
    return Delta(change, math.exp(low), math.exp(high), "separate", n)


def recovered(
    base: tuple[float, float, float], new: tuple[float, float, float], extra: float = 0.0
) -> tuple[float, float]:
    """Return the interval of new - base from (value, low, high) of each, which are independent.

    The method of variance estimates recovery (Zou and Donner 2008): of Wilson's intervals of two shares it makes
    Newcombe's (1998, method 10), of symmetric ones it adds the half-widths in quadrature. `extra` is one more
    half-width.
    """
    (b, b_low, b_high), (n, n_low, n_high) = base, new
    return n - b - math.hypot(n - n_low, b_high - b, extra), n - b + math.hypot(n_high - n, b - b_low, extra)


def side_by_side(pair: Pair, metric: Metric) -> Delta:
    """Return the change from base to new where `pair` is how many times better new is than base."""
    assert pair.value is not None
    assert pair.interval is not None
    if metric.higher_is_better:
        return Delta(pair.value, pair.interval.low, pair.interval.high, "paired", pair.n)
    return Delta(1 / pair.value, 1 / pair.interval.high, 1 / pair.interval.low, "paired", pair.n)


def beside(base: Pair, new: Pair, metric: Metric, *, anchor: str, as_student: bool) -> Delta:
    """Return the change of one model from how it stood to another, the `anchor`, before and after.

    Both pairs say how many times better the student of the two is, which is the model in question or (not
    `as_student`) the anchor. What the machine did between the runs is in both models' times, and cancels.
    """
    before, after = _logarithms(base), _logarithms(new)
    (low, high), value = recovered(before, after), after[0] - before[0]
    if as_student != bool(metric.higher_is_better):  # better is a smaller number: turn it round
        value, low, high = -value, -high, -low
    return Delta(math.exp(value), math.exp(low), math.exp(high), "anchored", new.n, anchor)


def same_images(base: "NDArray[np.bool_]", new: "NDArray[np.bool_]") -> Delta:
    """Return the change of an accuracy from which of the same images were right, (N,) each.

    Where these are the very same images there is nothing that speaks for a change, and the two are the same by that.
    The interval for the choice of images could not say so: of few hundred it is wider than half a point whatever the
    models answer.
    """
    from kdbench.statistics import paired_share_difference  # only here: scipy takes longer than all the rest

    gained, lost, n = int((new & ~base).sum()), int((base & ~new).sum()), len(new)
    if gained == lost == 0:
        return Delta(0, 0, 0, "paired", n, note=f"right on the very same of {n:,} images")
    found = paired_share_difference(gained, lost, n)
    assert found.low is not None
    assert found.high is not None
    return Delta(100 * found.value, 100 * found.low, 100 * found.high, "paired", n)


def _logarithms(pair: Pair) -> tuple[float, float, float]:
    """Return value, low and high of a ratio."""
    assert pair.value is not None
    assert pair.interval is not None
    return math.log(pair.value), math.log(pair.interval.low), math.log(pair.interval.high)
