"""The rule: a change counts when it is both significant and large."""

from kdbench.judge.comparing.shifts import Delta
from kdbench.results.comparisons import Change
from kdbench.results.metrics import Metric

_ROUNDING = 1e-9  # 1.05 / 1 - 1 is no more than 5 %


def outcome(shift: Delta, metric: Metric, threshold: float) -> Change:
    """Return what a change is.

    `regressed`: its interval lies on the worse side of no change, and the change is worse than the threshold.
    `improved`: the mirror image. `same`: the interval does not reach beyond the threshold on the worse side, so that
    a regression of that size is ruled out. `inconclusive`: everything else.
    """
    worse, most, least = worsenings(shift, metric)
    limit = threshold + _ROUNDING
    if least > _ROUNDING and worse > limit:
        return "regressed"
    if most < -_ROUNDING and -worse > limit:
        return "improved"
    return "same" if most <= limit else "inconclusive"


def worsenings(shift: Delta, metric: Metric) -> tuple[float, float, float]:
    """Return by how much the new number is worse: as found, at most and at least; negative where it is better."""
    none = 0.0 if metric.in_points else 1.0
    sign = -1.0 if metric.higher_is_better else 1.0
    worse, *ends = (sign * (number - none) for number in (shift.value, shift.low, shift.high))
    return worse, max(ends), min(ends)


def uncertainty(shift: Delta, metric: Metric) -> str:
    """Return in words why a change is inconclusive."""
    if worsenings(shift, metric)[2] > _ROUNDING:
        return "worse, but not known whether by more than the threshold"
    return "too uncertain: a change worse than the threshold is not ruled out"
