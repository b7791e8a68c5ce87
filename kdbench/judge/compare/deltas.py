"""The change between two numbers, its interval, and whether it counts.

A change is new over base, or new minus base in percentage points where the metric is a share or in points itself. It
counts when it is both significant and large.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from kdbench.judge.limits import bounds_of
from kdbench.results.comparisons import Change, Strategy
from kdbench.results.metrics import Metric
from kdbench.results.records import Interval, Measurement, Pair, difference

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Z = NormalDist().inv_cdf(0.975)
_ROUNDING = 1e-9  # in floating point, 1.05 - 1 exceeds 0.05


@dataclass(frozen=True)
class Delta:
    """A change within [low, high], and the strategy that computed it.

    `anchor` is the model that both numbers were compared with; `note` is shown with the change in any case.
    """

    value: float
    low: float
    high: float
    strategy: Strategy
    n: int | None = None
    anchor: str = ""
    note: str = ""

    @property
    def interval(self) -> Interval | None:
        """The interval; None where it has no width."""
        return Interval(low=self.low, high=self.high) if self.low < self.high else None


@dataclass(frozen=True)
class NotComparable:
    """Why two numbers cannot be compared, and what would help."""

    reason: str
    remedy: str = ""


_INCLUDES_ZERO = NotComparable("an interval includes zero", "measure in more sessions")


def classify(delta: Delta, metric: Metric, threshold: float) -> Change:
    """Return what a change is.

    `regressed`: the whole interval is worse than no change, and the change is worse than the threshold. `improved`: the
    mirror image. `same`: the interval does not go beyond the threshold on the worse side, which rules out a regression
    of that size. `inconclusive`: everything else.
    """
    worse, most, least = _worsening(delta, metric)
    limit = threshold + _ROUNDING
    if least > _ROUNDING and worse > limit:
        return "regressed"
    if most < -_ROUNDING and -worse > limit:
        return "improved"
    return "same" if most <= limit else "inconclusive"


def uncertainty(delta: Delta, metric: Metric) -> str:
    """Return why a change is inconclusive."""
    if _worsening(delta, metric)[2] > _ROUNDING:
        return "worse, but it is not certain that it is by more than the threshold"
    return "too uncertain: a change worse than the threshold is not ruled out"


def _worsening(delta: Delta, metric: Metric) -> tuple[float, float, float]:
    """Return by how much the new number is worse: estimated, at most and at least; negative if it is better."""
    no_change = 0.0 if metric.in_points else 1.0
    sign = -1.0 if metric.higher_is_better else 1.0
    worse, *ends = (sign * (number - no_change) for number in (delta.value, delta.low, delta.high))
    return worse, max(ends), min(ends)


def unchanged(metric: Metric, strategy: Strategy, *, n: int | None = None, note: str = "", anchor: str = "") -> Delta:
    """Return no change, without an interval."""
    no_change = 0.0 if metric.in_points else 1.0
    return Delta(no_change, no_change, no_change, strategy, n, anchor, note)


def between_counts(base: float, new: float) -> Delta | NotComparable:
    """Return the exact change of two counts."""
    if base == 0 and new != 0:
        return NotComparable("the base is 0", "compare another metric")
    change = new / base if base else 1.0
    return Delta(change, change, change, "exact")


def between_independent(
    base: Measurement, new: Measurement, metric: Metric, run_to_run: float
) -> Delta | NotComparable:
    """Return the change of two numbers with independent intervals, by `difference`; for ratios, on the logarithms.

    If the numbers have a repeatability instead of intervals, the bounds are the extremes of both. `run_to_run` is the
    standard deviation between runs that is not visible within a run, as a share of the number.
    """
    assert base.value is not None
    assert new.value is not None
    before, after, n = bounds_of(base), bounds_of(new), new.n
    assert before is not None, "a number without bounds is not reliable"
    assert after is not None
    if metric.in_points:
        low, high = difference((base.value, before.low, before.high), (new.value, after.low, after.high))
        factor = metric.to_points
        return Delta(factor * (new.value - base.value), factor * low, factor * high, "separate", n)
    if min(base.value, new.value, before.low, after.low) <= 0:
        return _INCLUDES_ZERO
    change = new.value / base.value
    if metric.repeatability is not None:
        return Delta(change, after.low / before.high, after.high / before.low, "separate", n)
    logarithms = _logarithms(base.value, before), _logarithms(new.value, after)
    low, high = difference(*logarithms, extra=math.sqrt(2) * _Z * run_to_run)
    return Delta(change, math.exp(low), math.exp(high), "separate", n)


def from_pair(pair: Pair, metric: Metric) -> Delta | NotComparable:
    """Return the change from base to new; `pair` is how many times better new is than base."""
    assert pair.value is not None
    assert pair.interval is not None
    if min(pair.value, pair.interval.low) <= 0:
        return _INCLUDES_ZERO
    if metric.higher_is_better:
        return Delta(pair.value, pair.interval.low, pair.interval.high, "paired", pair.n)
    return Delta(1 / pair.value, 1 / pair.interval.high, 1 / pair.interval.low, "paired", pair.n)


def from_anchor(base: Pair, new: Pair, metric: Metric, *, anchor: str, as_student: bool) -> Delta | NotComparable:
    """Return the change of one model from its ratios to another model, the `anchor`, in both records.

    Both pairs say how many times better their student is: the compared model or, if not `as_student`, the anchor. The
    machine's change between the runs affects the times of both models, and cancels.
    """
    if any(min(pair.value or 0, pair.interval.low if pair.interval else 0) <= 0 for pair in (base, new)):
        return _INCLUDES_ZERO
    before, after = (_logarithms(pair.value, pair.interval) for pair in (base, new))
    (low, high), value = difference(before, after), after[0] - before[0]
    if as_student != bool(metric.higher_is_better):  # smaller is better: invert the ratio
        value, low, high = -value, -high, -low
    return Delta(math.exp(value), math.exp(low), math.exp(high), "anchored", new.n, anchor)


def between_same_images(base: "NDArray[np.bool_]", new: "NDArray[np.bool_]") -> Delta:
    """Return the change of an accuracy from the correctness of the same images, (N,) each.

    If both are correct on exactly the same images, nothing changed. An interval for the choice of images cannot show
    this: with a few hundred images it is wider than half a point whatever the models predict.
    """
    from kdbench.statistics import paired_share_difference  # only here: numpy is slow to import

    gained, lost, n = int((new & ~base).sum()), int((base & ~new).sum()), len(new)
    if gained == lost == 0:
        return Delta(0, 0, 0, "paired", n, note=f"both are correct on exactly the same of {n:,} images")
    change = paired_share_difference(gained, lost, n)
    assert change.low is not None
    assert change.high is not None
    return Delta(100 * change.value, 100 * change.low, 100 * change.high, "paired", n)


def between_squared_errors(
    base: "NDArray[np.float64]", new: "NDArray[np.float64]", *, power: float
) -> Delta | NotComparable:
    """Return the change of (mean squared error)^power from the squared errors of the same samples, (N,) each."""
    from kdbench.statistics import root_mean_ratio  # only here: numpy is slow to import

    n = len(new)
    if (base == new).all():
        return Delta(1, 1, 1, "paired", n, note=f"exactly the same errors on {n:,} samples")
    ratio = root_mean_ratio(new, base)
    if ratio.low is None or ratio.high is None:
        return NotComparable("one of the errors is 0, or there is a single sample", "compare another metric")
    value, low, high = (bound ** (2 * power) for bound in (ratio.value, ratio.low, ratio.high))
    return Delta(value, low, high, "paired", n)


def _logarithms(value: float | None, interval: Interval | None) -> tuple[float, float, float]:
    assert value is not None
    assert interval is not None
    return math.log(value), math.log(interval.low), math.log(interval.high)
