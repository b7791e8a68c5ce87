"""The outcome of a trial: the numbers that its goal names, and whether they meet the limits.

The optimiser gets the values themselves. For people, the usual rule applies: a limit is met if the whole interval meets
it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench import statistics
from kdbench.judge.limits import LimitCheck, Reading, as_reading, check_limit
from kdbench.judge.readings import IMPLIED
from kdbench.recipe.sweeps.goal import VALIDATED, Goal, Limit, Number
from kdbench.report.axes import headline
from kdbench.results.cards import ModelCard
from kdbench.results.metrics import PAIR_METRICS
from kdbench.results.records import Interval, RunRecord
from kdbench.results.verdicts import Outcome

IdsByName = Mapping[str | None, Sequence[str]]
"""The ids of a trial's models, one per seed, by their name in the goal; None is the model that is optimised."""


@dataclass(frozen=True)
class TrialResult:
    """A trial's numbers: `score` is the goal's, `limits` are in the goal's order."""

    score: Reading
    limits: tuple[Reading, ...]
    checks: tuple[LimitCheck, ...]

    @property
    def outcome(self) -> Outcome:
        """PASS if all limits are met, FAIL if one is not, else MARGINAL or UNKNOWN."""
        outcomes = {check.outcome for check in self.checks}
        worst: tuple[Outcome, ...] = ("FAIL", "UNKNOWN", "MARGINAL")
        return next((outcome for outcome in worst if outcome in outcomes), "PASS")

    def excess(self, goal: Goal) -> list[float]:
        """Return by which share of itself each limit is exceeded; a missing number counts as 1, twice the limit."""
        pairs = zip(goal.limits, self.limits, strict=True)
        return [1.0 if reading.value is None else limit.excess(reading.value) for limit, reading in pairs]


def trial_result(goal: Goal, record: RunRecord, named: IdsByName, validated: int) -> TrialResult:
    """Return the results of a trial in a record; `validated` is the number of validation samples."""
    limits = tuple(reading_of(limit.number, record, named, validated) for limit in goal.limits)
    checks = tuple(_checked(limit, reading) for limit, reading in zip(goal.limits, limits, strict=True))
    return TrialResult(reading_of(goal.number, record, named, validated), limits, checks)


def _checked(limit: Limit, reading: Reading) -> LimitCheck:
    if reading.value is not None and reading.interval is None and limit.number.is_score:
        reading = Reading(reading.metric, reading.value, Interval(low=reading.value, high=reading.value))
    return check_limit(reading, limit.side, limit.value, weakest="estimated")


def reading_of(number: Number, record: RunRecord, named: IdsByName, validated: int) -> Reading:
    """Return a trial's number in a record, or why there is none; a score is the mean over the seeds."""
    ids = [id_ for id_ in named.get(number.model, ()) if id_ in record.cards]
    if not ids:
        return Reading(number.declared, None, reason="the model is missing")
    if number.is_score:
        return _score(number, [record.cards[id_] for id_ in ids], validated)
    named_axes = {key: value for key, value in number.axes.items() if IMPLIED.get(key) != value}
    axes = {**(headline(record) if number.declared.hardware_dependent else {}), **named_axes}
    for id_ in ids:  # seeds share their times
        index = record.pair_index if number.metric in PAIR_METRICS else record.measurement_index
        result = index.nearest(id_, number.metric, axes) or index.nearest(id_, number.metric, named_axes)
        if result is not None:
            return as_reading(result)
    return Reading(number.declared, None, reason="not measured")


def _score(number: Number, cards: Sequence[ModelCard], validated: int) -> Reading:
    scores = [score for card in cards if (score := validation_score(number.metric, card)) is not None]
    if not scores:
        return Reading(number.declared, None, reason="it was not trained here")
    value, interval = math.fsum(scores) / len(scores), None
    if number.declared.unit == "share":
        hits = np.rint(np.array(scores) * validated).astype(np.int64)
        estimate = statistics.mean_of_shares(hits, np.full(len(hits), validated))
        if estimate.low is not None and estimate.high is not None:
            interval = Interval(low=estimate.low, high=estimate.high, level=statistics.LEVEL)
    return Reading(number.declared, value, interval, n=validated)


def validation_score(metric: str, card: ModelCard) -> float | None:
    """Return the validation score of the weights that a training kept; None without a training."""
    if card.training is None or not card.training.curve:
        return None
    row = card.training.curve[max(card.training.kept_epoch, 1) - 1]
    value = getattr(row, VALIDATED[metric])
    return None if value is None else float(value)


def describe_result(goal: Goal, result: TrialResult) -> str:
    """Return a trial's numbers in words: `top1 97.22 %, latency_p50_ns 31.2 µs: meets the limit`."""
    readings = zip((goal.number, *(limit.number for limit in goal.limits)), (result.score, *result.limits), strict=True)
    numbers = [
        f"{number} {reading.reason or 'n/a' if reading.value is None else number.declared.text(reading.value)}"
        for number, reading in readings
    ]
    outcomes = {"PASS": "meets the limits", "FAIL": "misses a limit", "MARGINAL": "may meet the limits"}
    return ", ".join(numbers) + (f": {outcomes.get(result.outcome, 'limits unknown')}" if goal.limits else "")
