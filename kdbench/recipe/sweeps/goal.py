"""The goal of a search, `max top1 where latency_p50_ns <= 2 ms`: what is optimised, and the limits on it.

    GOAL   max|min NUMBER [where LIMIT [and LIMIT]…]
    LIMIT  NUMBER <=|>= QUANTITY
    NUMBER METRIC [of MODEL] [at AXIS=VALUE [, AXIS=VALUE]…]

Scores are those of the validation part, so that the test part remains unseen by the search. A goal may name these
scores and costs, but nothing else that is computed from the test part.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from kdbench import units
from kdbench.characters import one_line
from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.results.metrics import METRICS, PAIR_METRICS, Metric, metric

EXAMPLE = "max top1 where latency_p50_ns <= 2 ms"
_FORM = f"for example {EXAMPLE!r}; see docs/search.md"

VALIDATED = {"top1": "validation_top1", "loss": "validation_loss", "rmse": "validation_rmse"}
"""The columns of a training curve that scores in a goal stand for."""

_COSTS = {"latency", "relative", "throughput", "offline", "cold start", "memory", "file", "energy", "training"}
_SIDES: dict[str, "Side"] = {"<=": "max", "<": "max", "≤": "max", ">=": "min", ">": "min", "≥": "min"}
_AXES = ("provider", "runtime", "mode", "threads", "batch")
# Not the comma before an axis, as in `at batch=8, threads=2`, nor that of thousands.
_BETWEEN_LIMITS = re.compile(r"\s+and\s+|\s*,\s*(?=[a-z]\w*\b(?!\s*=))")
_NUMBER = re.compile(r"(?P<metric>\S+)(?:\s+of\s+(?P<model>\S+))?(?:\s+at\s+(?P<axes>.+))?")

Side = Literal["max", "min"]


@dataclass(frozen=True)
class Number:
    """A metric of the `model` with that name in the recipe, before the search; None for the model that is searched.

    `axes` are those that it is measured at, beside those of the run's headline.
    """

    metric: str
    model: str | None = None
    axes: dict[str, str | int] = field(default_factory=dict)

    @property
    def declared(self) -> Metric:
        """What is declared of the metric."""
        return metric(self.metric)

    @property
    def is_score(self) -> bool:
        """Whether it is a score of the validation part, known from the training alone."""
        return self.metric in VALIDATED

    def __str__(self) -> str:
        """Return the number as it is typed."""
        model = "" if self.model is None else f" of {self.model}"
        at = ", ".join(f"{key}={value}" for key, value in self.axes.items())
        return f"{self.metric}{model}{f' at {at}' if at else ''}"


@dataclass(frozen=True)
class Limit:
    """A number that is to be at most (`max`) or at least (`min`) `value`, in the metric's unit.

    `text` is the value with its unit: rounded as values are shown if that is the same value, else as it was typed.
    """

    number: Number
    side: Side
    value: float
    text: str

    def __str__(self) -> str:
        """Return the limit as it can be typed."""
        return f"{self.number} {'<=' if self.side == 'max' else '>='} {self.text}"

    def excess(self, value: float) -> float:
        """Return how far a value is beyond the limit, relative to the limit; 0 or less where it is met."""
        beyond = value - self.value if self.side == "max" else self.value - value
        return beyond / (abs(self.value) or 1.0)


@dataclass(frozen=True)
class Goal:
    """The number to maximise (`max`) or minimise (`min`), among points that meet all `limits`."""

    side: Side
    number: Number
    limits: tuple[Limit, ...] = ()

    def __str__(self) -> str:
        """Return the goal as it is typed."""
        where = f" where {' and '.join(map(str, self.limits))}" if self.limits else ""
        return f"{self.side} {self.number}{where}"

    @property
    def numbers(self) -> tuple[Number, ...]:
        """Every number that it names."""
        return (self.number, *(limit.number for limit in self.limits))

    def better(self, one: float, other: float) -> bool:
        """Return whether one value of the number is better than another."""
        return one > other if self.side == "max" else one < other


def goal_of(text: str) -> Goal:
    """Read a goal as it is typed; raises InputError that names the wrong part and its error.

    >>> goal_of("max top1 where latency_p50_ns <= 2 ms").limits[0].value
    2000000.0
    """
    subject = f"goal {one_line(text)[:120]!r}"
    head, *rest = re.split(r"\s+where\s+", f" {text.strip()} ", maxsplit=1)
    words = head.split(maxsplit=1)
    if len(words) != 2 or words[0] not in {"max", "min"}:
        raise InputError(f"{subject} does not begin with `max METRIC` or `min METRIC`", _FORM)
    side: Side = "max" if words[0] == "max" else "min"
    number = _number(words[1].strip(), subject)
    if number.declared.higher_is_better != (side == "max"):
        other = "min" if side == "max" else "max"
        better = "higher" if number.declared.higher_is_better else "lower"
        raise InputError(f"{subject}: {number.metric} improves when it gets {better}", f"write {other} {number}")
    limits = _BETWEEN_LIMITS.split(rest[0].strip()) if rest else ()
    return Goal(side, number, tuple(_limit(limit, subject) for limit in limits))


def _limit(text: str, subject: str) -> Limit:
    parts = re.split(r"\s*(<=|>=|≤|≥|<|>)\s*", text.strip())
    if len(parts) != 3 or not parts[0] or not parts[2]:
        raise InputError(f"{subject}: {text.strip()!r} is not a limit: METRIC <= QUANTITY or METRIC >= QUANTITY", _FORM)
    number = _number(parts[0], subject)
    try:
        value = units.parse(parts[2], number.declared.unit)
    except ValueError as error:
        raise InputError(f"{subject}: {number.metric} {parts[1]} {parts[2]}: {error}", _FORM) from error
    if not math.isfinite(value):
        raise InputError(f"{subject}: the limit {parts[2]!r} is not a number", _FORM)
    least, most = number.declared.value_range
    if not least <= value <= most:
        bound = f"at most {most:g}" if value > most else f"at least {least:g}"
        is_percent = number.declared.unit == "share" and most < value <= 100
        hint = f"for {value:g} %, write '{number} {parts[1]} {value:g} %'" if is_percent else _FORM
        raise InputError(f"{subject}: {number.metric} is {bound}, and the limit is {value:g}", hint)
    return Limit(number, _SIDES[parts[1]], value, _shown(value, number.declared, parts[2]))


def _shown(value: float, declared: Metric, typed: str) -> str:
    """Return a limit's value with its unit: as a metric's values are shown, or as `typed` where that is rounded."""
    shown = units.chosen(declared.text(value))
    try:
        return shown if units.parse(shown, declared.unit) == value else typed
    except ValueError:  # such as "1 h 30 min", which only people read
        return typed


def _number(text: str, subject: str) -> Number:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise InputError(f"{subject}: {text!r} is not METRIC, METRIC of MODEL or METRIC at AXIS=VALUE", _FORM)
    id_ = match["metric"].removeprefix("validation_")
    declared = METRICS.get(id_) or PAIR_METRICS.get(id_)
    if declared is None:
        raise InputError(f"{subject}: unknown metric {id_!r}", suggestion(id_, known_metrics()))
    if id_ not in known_metrics():
        message = f"{subject}: {id_} is computed from the test part, which a search must not use"
        raise InputError(message, f"a goal can use the validation scores {', '.join(VALIDATED)} and any cost")
    return Number(id_, match["model"], _axes(match["axes"] or "", subject))


def _axes(text: str, subject: str) -> dict[str, str | int]:
    axes: dict[str, str | int] = {}
    for part in filter(None, re.split(r"[\s,]+", text)):
        key, sign, value = part.partition("=")
        if not sign or not value or key not in _AXES:
            raise InputError(f"{subject}: {part!r} is not AXIS=VALUE", f"axes: {', '.join(_AXES)}, such as batch=8")
        axes[key] = int(value) if value.isascii() and value.isdecimal() else value
    return axes


def known_metrics() -> list[str]:
    """Return the metrics that a goal may name: scores of the validation part, and costs."""
    declared = (*METRICS.values(), *PAIR_METRICS.values())
    return [*VALIDATED, *(one.id for one in declared if one.group in _COSTS)]
