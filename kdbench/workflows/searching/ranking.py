"""Rank the trials of a finished search in its record: those within the limits first, then in the order of the goal."""

from collections.abc import Mapping

from kdbench.judge.limits import LimitCheck, Reading
from kdbench.recipe.loading import SweptRecipe
from kdbench.recipe.sweeps.goal import Goal
from kdbench.results.records import RunRecord
from kdbench.results.searches import KEY, SearchLimit, SearchPoint, SearchSummary, SearchValue
from kdbench.workflows.searching.subject import names_at
from kdbench.workflows.searching.trial_result import TrialResult, trial_result

_OUTCOMES = ("PASS", "MARGINAL", "UNKNOWN", "FAIL")  # in the order of the ranking


def with_ranking(
    record: RunRecord, swept: SweptRecipe, goal: Goal, name: str, validated: int, counts: Mapping[str, int]
) -> RunRecord:
    """Return a record whose protocol has the search: its goal, `counts` of its trials, and its points in order.

    `name` is the recipe's entry that is optimised, `validated` the number of samples in the validation part.
    """
    ranked: list[tuple[tuple[float, ...], SearchPoint]] = []
    for point in swept.points:
        named = names_at(point, name, swept.recipe.seeds)
        if not any(id_ in record.cards for id_ in named[None]):
            continue  # it failed, which the sweep reports
        result = trial_result(goal, record, named, validated)
        values = tuple(_search_value(*pair) for pair in zip(result.limits, result.checks, strict=True))
        known = {"values": dict(point.values), "score": _search_value(result.score), "limits": values}
        model = next(id_ for id_ in named[None] if id_ in record.cards)
        ranked.append((_order(goal, result), SearchPoint(model=model, outcome=result.outcome, **known)))
    points = tuple(point for _, point in sorted(ranked, key=lambda pair: pair[0]))
    limits = tuple(SearchLimit(text=str(limit), metric=limit.number.metric) for limit in goal.limits)
    summary = SearchSummary(goal=str(goal), metric=goal.number.metric, limits=limits, points=points, **counts)
    return record.model_copy(update={"protocol": {**record.protocol, KEY: summary.model_dump(mode="json")}})


def _order(goal: Goal, result: TrialResult) -> tuple[float, ...]:
    """Return a key that sorts by outcome; among points that miss limits the nearest come first, then the best."""
    value = result.score.value
    score = float("inf") if value is None else -value if goal.side == "max" else value
    excess = sum(max(amount, 0.0) for amount in result.excess(goal)) if result.outcome in {"FAIL", "UNKNOWN"} else 0.0
    return (_OUTCOMES.index(result.outcome), excess, score)


def _search_value(reading: Reading, check: LimitCheck | None = None) -> SearchValue:
    reason = "" if reading.value is not None else reading.reason or "not measured"
    outcome = None if check is None else check.outcome
    return SearchValue(value=reading.value, interval=reading.interval, reason=reason, outcome=outcome)
