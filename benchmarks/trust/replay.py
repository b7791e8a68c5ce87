"""The result of kdbench, had it stopped as soon as its interval was narrow enough."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.trust.repeats import Values
from kdbench.measure.latency.ratios import session_plan
from kdbench.recipe.tables.measure import Measure
from kdbench.statistics import Estimate, Plan, paired_ratio, relative_width

PRECISIONS = (Measure().precision, 0.02)


def plan_on(cores: Sequence[int]) -> Plan:
    """Return how the sessions of a comparison came about that took turns on `cores` of this machine."""
    return session_plan(cores, Measure().sessions)


def answer(rounds: Sequence[NDArray[np.float64]], plan: Plan) -> Values:
    """Return `ratio`, `low` and `high` from the log ratios of the rounds of each session."""
    return _values(paired_ratio(rounds, plan=plan))


def replayed(rounds: Sequence[NDArray[np.float64]], plan: Plan) -> list[Values]:
    """Return the answer at each of PRECISIONS.

    The length of sessions does not depend on the precision: the first of them are what an earlier stop would have had.
    Each has `precision`, `reached` (or the budget ended before) and `sessions` besides what `answer` has.
    """
    return [_stopped(rounds, precision, plan) for precision in PRECISIONS]


def _stopped(rounds: Sequence[NDArray[np.float64]], precision: float, plan: Plan) -> Values:
    for sessions in range(min(plan.first or 1, len(rounds)), len(rounds) + 1):
        estimate = paired_ratio(rounds[:sessions], plan=plan)
        reached = relative_width(estimate) <= precision
        if reached:
            break
    return {"precision": precision, "reached": reached, "sessions": sessions, **_values(estimate)}


def _values(estimate: Estimate) -> Values:
    return {"ratio": estimate.value, "low": estimate.low, "high": estimate.high}
