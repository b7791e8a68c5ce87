"""A record's information about the search that chose its models: the goal, the points in its order, and their limits.

It stands in the record's protocol as `search`.
"""

from typing import Any

from pydantic import Field, ValidationError

from kdbench.results.metrics import METRICS, PAIR_METRICS
from kdbench.results.records import Interval, RunRecord
from kdbench.results.verdicts import Outcome
from kdbench.user_input.validation import Value

KEY = "search"


class SearchValue(Value):
    """A number that a goal names, or the `reason` why there is none; `outcome` says whether it meets its limit."""

    value: float | None
    interval: Interval | None = None
    reason: str = ""
    outcome: Outcome | None = None


class SearchPoint(Value):
    """A point of a search: the id of its model, the values of the axes, and the numbers of the goal and its limits."""

    model: str
    values: dict[str, Any]
    score: SearchValue
    limits: tuple[SearchValue, ...] = ()
    outcome: Outcome


class SearchLimit(Value):
    """A limit of a goal as it is typed, and the metric that it is about."""

    text: str
    metric: str


class SearchSummary(Value):
    """A finished search; the `points` that meet all limits come first, the best one first of all."""

    goal: str
    metric: str
    trials: int = Field(ge=0)
    pruned: int = Field(ge=0)
    failed: int = Field(ge=0)
    limits: tuple[SearchLimit, ...] = ()
    points: tuple[SearchPoint, ...]


def search_of(record: RunRecord) -> SearchSummary | None:
    """Return the search of a record; None without one, or with one that this version cannot read."""
    try:
        summary = SearchSummary.model_validate(record.protocol.get(KEY))
    except ValidationError:
        return None
    metrics = {summary.metric, *(limit.metric for limit in summary.limits)}
    fits = all(len(point.limits) == len(summary.limits) for point in summary.points)
    return summary if fits and metrics <= METRICS.keys() | PAIR_METRICS.keys() else None
