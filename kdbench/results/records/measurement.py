"""Measurements: numbers of models with axes and uncertainty, or the reasons why they are missing."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, Self

from pydantic import Field, model_validator

from kdbench.results.cards import Evidence
from kdbench.results.metrics import METRICS, PAIR_METRICS
from kdbench.user_input.validation import SmallValue, added_later

_NEVER_BEYOND = {"ns", "bytes", "share"}  # units of which not even rounding leaves the range of a metric

Status = Literal["ok", "unavailable", "below_resolution", "unstable", "invalid", "error"]
Axes = Mapping[str, str | int]


class Interval(SmallValue):
    """A confidence interval `[low, high]` at `level`."""

    low: float
    high: float
    level: float = 0.95

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the interval's bounds are swapped: {self.low} > {self.high}")
        return self


class _Result(SmallValue):
    """The common part of measurements and pairs: a number, or the reason why it is missing.

    `evidence` is how the number was obtained; estimates are never ranked or gated against measurements.
    """

    metric: str
    axes: dict[str, str | int] = Field(default_factory=dict)
    value: float | None
    status: Status = "ok"
    interval: Interval | None = None
    n: int | None = None
    evidence: Evidence = "measured"
    reason: str | None = None

    @model_validator(mode="after")
    def _number_or_reason(self) -> Self:
        if (self.status in {"ok", "unstable"}) != (self.value is not None):
            raise ValueError(f"{self.metric}: status {self.status!r} with value {self.value!r}")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"{self.metric}: status {self.status!r} needs a reason")
        self.__dict__["axes"] = _equal_axes(tuple(self.axes.items()))
        return self


class Measurement(_Result):
    """One metric of one model at the axes it was measured at.

    `model` is a card's id, `n` the number of samples, `source` the instrument, `hint` how to obtain a missing value.
    `interval` holds the long-run value on this machine. Where runs differ by more than one run shows, `within_run` is
    what this run's own samples give; it serves to compare numbers of one run.

        >>> top1 = kdbench.Results.read("runs/digits").find("student", "top1")
        >>> top1.unit, top1.status, top1.n, top1.interval.low < top1.value < top1.interval.high
        ('share', 'ok', 359, True)
    """

    model: str
    unit: str
    source: str | None = None
    hint: str | None = None
    within_run: Interval | None = added_later(None)

    @model_validator(mode="after")
    def _declared(self) -> Self:
        if self.metric not in METRICS or METRICS[self.metric].unit != self.unit:
            raise ValueError(f"metric {self.metric!r} with unit {self.unit!r} is not declared in results.metrics")
        least, most = METRICS[self.metric].value_range
        if self.unit in _NEVER_BEYOND and self.value is not None and not least <= self.value <= most:
            raise ValueError(f"{self.metric}: {self.value:g} {self.unit} is impossible")
        return self


class Pair(_Result):
    """One metric of a student relative to its teacher (a ratio is teacher over student).

    >>> pair = kdbench.Results.read("runs/digits").ratio("student", "size_ratio")
    >>> pair.teacher, pair.student, pair.value > 30
    ('teacher', 'student', True)
    """

    teacher: str
    student: str

    @model_validator(mode="after")
    def _declared(self) -> Self:
        if self.metric not in PAIR_METRICS:
            raise ValueError(f"pair metric {self.metric!r} is not declared in results.metrics")
        return self


class Layer(SmallValue):
    """One node that the runtime ran, and the layer of the model file that it implements.

    `name` is the layer's name (of fused layers, the one with the most MACs), `operator` the operator that ran. `macs`
    is per sample. `time_ns` is per call at `axes`, `time_share` its share of all nodes' time. Both come from the
    profile, which runs separately and slower than the timed calls. `reason` is why `macs` is missing.
    """

    model: str
    name: str
    operator: str
    macs: int | None = None
    time_ns: float | None = None
    time_share: float | None = None
    axes: dict[str, str | int] = Field(default_factory=dict)
    reason: str | None = None

    @model_validator(mode="after")
    def _macs_or_reason(self) -> Self:
        if self.macs is None and not self.reason:
            raise ValueError(f"layer {self.name!r} has neither MACs nor a reason why")
        return self


@lru_cache(maxsize=1 << 16)
def _equal_axes(items: tuple[tuple[str, str | int], ...]) -> dict[str, str | int]:
    """Return one dictionary for equal axes, which the results of all models have."""
    return dict(items)


def measured(
    model: str,
    metric: str,
    value: float,
    *,
    axes: Axes | None = None,
    interval: Interval | None = None,
    n: int | None = None,
    source: str | None = None,
    evidence: Evidence = "measured",
    unstable: str | None = None,
    within_run: Interval | None = None,
) -> Measurement:
    """Return a measurement with a number, in the metric's declared unit.

    A value that is not finite gets status `invalid`. `unstable` is how the samples disagree, which widens the interval.
    """
    if not math.isfinite(value):
        return missing(model, metric, f"the value is {value}", status="invalid", axes=axes, source=source)
    return Measurement(
        model=model,
        metric=metric,
        axes=dict(axes or {}),
        value=value,
        unit=METRICS[metric].unit,
        status="unstable" if unstable else "ok",
        interval=interval,
        n=n,
        evidence=evidence,
        source=source,
        reason=unstable,
        within_run=within_run,
    )


def missing(
    model: str,
    metric: str,
    reason: str,
    *,
    status: Status = "unavailable",
    hint: str | None = None,
    axes: Axes | None = None,
    source: str | None = None,
    evidence: Evidence = "measured",
) -> Measurement:
    """Return a measurement without a number, which keeps the metric in the record with the reason."""
    return Measurement(
        model=model,
        metric=metric,
        axes=dict(axes or {}),
        value=None,
        unit=METRICS[metric].unit,
        status=status,
        evidence=evidence,
        reason=reason,
        hint=hint,
        source=source,
    )


Bounded = tuple[float, float, float]  # a value with its low and its high bound


def difference(first: Bounded, second: Bounded, extra: float = 0.0) -> tuple[float, float]:
    """Return the interval of second - first from (value, low, high) of each, which are independent.

    The method of variance estimates recovery (Zou and Donner 2008): from Wilson's intervals of two shares it computes
    Newcombe's (1998, method 10); half-widths of symmetric intervals it adds in quadrature. `extra` is a further
    half-width.
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return b - a - math.hypot(b - b_low, a_high - a, extra), b - a + math.hypot(b_high - b, a - a_low, extra)
