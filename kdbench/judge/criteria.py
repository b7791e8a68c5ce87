"""The criteria of a target: bounds on a metric as written in the file, and as limits to check."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, model_validator

from kdbench import units
from kdbench.errors import InputError
from kdbench.judge.limits import Side
from kdbench.registry import suggestion
from kdbench.results.cards import Evidence
from kdbench.results.metrics import METRICS, PAIR_METRICS, Metric, pair_of
from kdbench.results.metrics import metric as declared
from kdbench.results.verdicts import Rule
from kdbench.user_input.validation import Value, WrongValueError

SIDES: dict[Rule, Side] = {
    "max": "max",
    "min": "min",
    "max_drop_vs_teacher": "max",
    "max_negative_flips": "max",
    "min_ratio_vs_teacher": "min",
}

# With any of these keys, a criterion has to name its metric.
_KEYS_WITH_METRIC = SIDES.keys() - {"max_negative_flips"} | {"metric"}

_FILE_AXES = ("part", "class", "target", "beside")  # of metrics that do not depend on the machine
_COUNTS = ("batch", "threads", "gap_ms", "rate_per_s")
AXES = (*_COUNTS, "provider", "runtime", "mode", "scope", *_FILE_AXES)


def _quantity(value: Any) -> float | str:
    if isinstance(value, str) or (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ):
        return value
    raise WrongValueError(f"{value!r} is not a limit", 'a limit is a number, or a text such as "50 ms"')


Quantity = Annotated[float | str, PlainValidator(_quantity)]


@dataclass(frozen=True)
class Limit:
    """One bound: `value` is in the unit of `metric`, or of the rule's drop (points), flips (share) or ratio.

    `evidence` is the weakest evidence admitted.
    """

    metric: str
    rule: Rule
    value: float
    axes: Mapping[str, str | int]
    required: bool = True
    evidence: Evidence = "measured"

    @property
    def side(self) -> Side:
        """Whether the number may be at most, or must be at least, the value."""
        return SIDES[self.rule]

    @property
    def pair(self) -> str | None:
        """The pair's metric to check; None where one or two models' numbers are checked."""
        if self.metric in PAIR_METRICS:
            return self.metric
        if self.rule == "max_negative_flips":
            return "negative_flips"
        pair = None if self.rule in {"max", "min"} else pair_of(self.metric)
        return pair.id if pair else None

    @property
    def checked_metric(self) -> Metric:
        """The metric that the limit is checked against: the model's, the pair's, or a drop or ratio of two models'."""
        if self.pair is not None:
            return PAIR_METRICS[self.pair]
        metric = declared(self.metric)
        if self.rule == "max_drop_vs_teacher":
            title = f"{metric.title} drop"
            return replace(metric, title=title, unit="points", higher_is_better=False, text=units.points)
        if self.rule == "min_ratio_vs_teacher":
            title = f"{metric.title} ratio"
            return replace(metric, title=title, unit="1", higher_is_better=True, text=units.ratio)
        return metric


class Criterion(Value):
    """A `[[criterion]]` of a target. A limit is a number in the metric's unit, or text such as `"50 ms"`."""

    metric: str
    max: Quantity | None = None
    min: Quantity | None = None
    max_drop_vs_teacher: Quantity | None = None
    max_negative_flips: Quantity | None = None
    min_ratio_vs_teacher: Quantity | None = None
    axes: dict[str, Annotated[str | int, PlainValidator(lambda value: value)]] = Field(default_factory=dict)
    required: bool = True
    evidence: Evidence = "measured"

    @model_validator(mode="before")
    @classmethod
    def _flips_are_of_top1(cls, content: Any) -> Any:
        """Fill in the metric of a criterion that limits flips only: flips are defined for top-1 alone."""
        if isinstance(content, Mapping) and "max_negative_flips" in content and not _KEYS_WITH_METRIC & content.keys():
            return {"metric": "top1", **content}
        return content

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        declared_metric(self.metric)
        limits = self.limits
        if not limits:
            raise WrongValueError(f"{self.metric} has no limit", f"give one of {', '.join(SIDES)}")
        for limit in limits:
            _check_value(limit)
        if len(limits) == 1:
            _check_direction(limits[0])
        _check_axes(declared(self.metric), self.axes)
        return self

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The bounds; raises WrongValueError for a quantity that does not fit the metric."""
        quantities = {rule: quantity for rule in SIDES if (quantity := getattr(self, rule)) is not None}
        return tuple(self._limit(rule, quantity) for rule, quantity in quantities.items())

    def _limit(self, rule: Rule, quantity: float | str) -> Limit:
        limit = Limit(self.metric, rule, 0.0, self.axes, self.required, self.evidence)
        _check_comparable(limit)
        if not isinstance(quantity, str):
            return replace(limit, value=quantity)
        unit = limit.checked_metric.unit
        try:
            return replace(limit, value=units.parse(quantity, unit))
        except ValueError as error:
            hint = f"or give a number in {unit}" if unit != "1" else "or give a number"
            raise WrongValueError(f"{self.metric}: {rule} = {quantity!r}: {error}", hint) from None


def _check_comparable(limit: Limit) -> None:
    """Raise WrongValueError for a drop or ratio that has no meaning, or that no run measures."""
    if limit.rule in {"max", "min"}:
        return
    if limit.metric in PAIR_METRICS:
        message = f"{limit.metric} is already relative to the teacher"
        raise WrongValueError(message, "limit it with max or min")
    if limit.rule == "max_negative_flips":
        if limit.metric != "top1":
            raise WrongValueError(
                f"{limit.metric} has no {limit.rule}", "flips belong to top1: use it in a criterion on top1"
            )
        return
    kind = "drop" if limit.rule == "max_drop_vs_teacher" else "ratio"
    known = [metric.id for metric in METRICS.values() if metric.versus_teacher == kind]
    if limit.metric in known:
        return
    hint = f"it can be given for {', '.join(known)}"
    if declared(limit.metric).group == "latency" and limit.rule == "min_ratio_vs_teacher":
        hint = "speed-ups compare medians: use it with latency_p50_ns, or give latency_ratio a min"
    raise WrongValueError(f"{limit.metric} has no {limit.rule}: no run measures it", hint)


def _check_value(limit: Limit) -> None:
    metric = limit.checked_metric
    if limit.value < 0:
        raise WrongValueError(f"{limit.metric}: {limit.rule} = {limit.value:g} is negative", "give 0 or more")
    # A drop may be negative, but a target that requires a drop of at least 0 is mistaken; a gain of 0 is a real limit.
    drops = metric.unit == "points" and not metric.higher_is_better
    if limit.value == 0 and limit.side == "min" and (metric.value_range[0] == 0 or drops):
        raise WrongValueError(f"{limit.metric}: {limit.rule} = 0 lets every model pass", "give a value above 0")
    if metric.unit == "share" and limit.value == 1 and limit.side == "max" and not metric.higher_is_better:
        raise WrongValueError(f"{limit.metric}: {limit.rule} = 1 lets every model pass", 'write 0.01, or "1 %"')
    if metric.unit == "share" and limit.value > 1:
        message = f"{limit.metric}: {limit.rule} = {limit.value:g}, but a share is at most 1"
        raise WrongValueError(message, f'write {limit.value / 100:g}, or "{limit.value:g} %"')


def _check_direction(limit: Limit) -> None:
    """Raise WrongValueError for a lone bound on the better side: the worst models would pass it."""
    higher = limit.checked_metric.higher_is_better
    if higher == (limit.side == "min"):
        return
    more, other = ("higher", "min") if higher else ("lower", "max")
    message = f"{limit.metric}: {limit.rule} alone lets every worse model pass, because {more} is better"
    raise WrongValueError(message, f"did you mean {other!r}?")


def _check_axes(metric: Metric, axes: Mapping[str, str | int]) -> None:
    known = AXES if metric.hardware_dependent else (*_FILE_AXES, "batch") if metric.scored else _FILE_AXES
    for axis, value in axes.items():
        if axis not in AXES:
            raise WrongValueError(f"{metric.id}: unknown axis {axis!r}", suggestion(axis, known))
        if axis == metric.finds:
            message = f"{metric.id} has no axis {axis!r}: it covers every {axis}"
            raise WrongValueError(message, f"leave the axis out, or limit class_top1 of that {axis}")
        if axis not in known:
            message = f"{metric.id} has no axis {axis!r}"
            raise WrongValueError(message, "it is a property of the file: leave the axis out")
        is_int = isinstance(value, int) and not isinstance(value, bool)
        is_name = isinstance(value, str) or (is_int and axis == "class")  # a class without a name has a number
        if not ((is_int and int(value) >= 1) if axis in _COUNTS else is_name):
            kind = "a whole number from 1 on" if axis in _COUNTS else "a text"
            message = f"{metric.id}: the axis {axis!r} is {kind}, not {value!r}"
            raise WrongValueError(message, "for example axes = { batch = 1, threads = 4 }")


def declared_metric(id_: str) -> Metric:
    """Return a metric by its id; raises WrongValueError with the nearest known id."""
    try:
        return declared(id_)
    except InputError:
        raise WrongValueError(f"unknown metric {id_!r}", suggestion(id_, [*METRICS, *PAIR_METRICS])) from None
