"""The number of a metric in a row: of one model, or over the seeds of a group."""

import math
from collections.abc import Sequence
from dataclasses import replace

from kdbench.report.cells import Number
from kdbench.report.model_groups import ModelGroup
from kdbench.results.metrics import PAIR_METRICS
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Axes, Interval, Measurement, Pair, RunRecord
from kdbench.results.runtimes import runtime_of

_OF_WEIGHTS = {"device", "training"}  # metrics of the machine that depend on the weights, or on how they were trained
_AT_AXES = {"latency_ratio", "energy_ratio"}  # pairs that share their axes with the measurement behind them


def number(
    record: RunRecord, group: ModelGroup, metric: str, axes: Axes | None = None, *, teacher: Sequence[str] | None = None
) -> Number:
    """Return the number of `metric`, of a group or of its pair with its teacher, whose axes include `axes`.

    `teacher` are the ids of another teacher than the one that the group is compared with first. A pair that is not in
    the record has the reason of the measurement behind it.
    """
    at = dict(axes or {})
    if metric in PAIR_METRICS:
        pairs = [pair for id_ in group.ids if (pair := record.pair_index.nearest(id_, metric, at, teacher))]
        return _cell(metric, pairs, group) if pairs else _missing_pair(record, group, metric, at)
    measurements = [m for id_ in group.ids if (m := record.find(id_, metric, **at))]
    if not measurements and declared(metric).group == "latency" and record.protocol.get("mode") == ["offline"]:
        return Number(declared(metric).text, status="unavailable", reason="not measured in offline mode")
    if not measurements and declared(metric).group == "training" and all(card.training is None for card in group.cards):
        return Number(declared(metric).text, status="unavailable", reason="not trained")
    return _cell(metric, measurements, group)


def number_at_batch(record: RunRecord, group: ModelGroup, metric: str, axes: Axes) -> Number:
    """Return the number at `axes`, or, labelled and not comparable, at the batch that the model's file fixes."""
    cell = number(record, group, metric, axes)
    fixed = group.cards[0].fixed_batch
    if cell.value is not None or fixed is None or fixed == axes.get("batch"):
        return cell
    other = number(record, group, metric, {**axes, "batch": fixed})
    return other if other.value is None else replace(other, aside=f"batch {fixed}", comparable=False)


def mean_over_seeds(
    seeds: Sequence[tuple[float, Interval | None]], possible: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, Interval]:
    """Return the mean of at least two seeds' values and its interval, within the range of `possible` values.

    It covers the choice of seeds and, as far as the values have intervals themselves, that of test samples.
    """
    from kdbench import statistics  # imports numpy, which a report of one seed does not need

    trainings = [
        statistics.Estimate(value, interval.low, interval.high, 1)
        if interval is not None
        else statistics.Estimate(value, None, None, 1)
        for value, interval in seeds
    ]
    mean = statistics.within(statistics.mean_over_trainings(trainings), possible)
    assert mean.low is not None
    assert mean.high is not None
    return mean.value, Interval(low=mean.low, high=mean.high, level=statistics.LEVEL)


def _missing_pair(record: RunRecord, group: ModelGroup, metric: str, axes: Axes) -> Number:
    write, compared = declared(metric).text, declared(metric).compares
    if compared is None:
        return Number(write, reason="not measured")
    if metric == "latency_ratio" and axes.get("mode") == "server":
        return Number(write, reason="no ratio of waiting times")  # they depend on chance, and on the load
    underlying = number(record, group, compared, axes if metric in _AT_AXES else None)
    if underlying.value is not None:
        return Number(write, reason="not measured")
    return Number(write, reason=underlying.reason, hint=underlying.hint)


def _cell(metric: str, results: Sequence[Measurement | Pair], group: ModelGroup) -> Number:
    write = declared(metric).text
    if not results:
        return Number(write, status="unavailable", reason="not measured")
    valued = [result for result in results if result.value is not None]
    first = (valued or results)[0]
    reason, hint = first.reason or "", (first.hint or "") if isinstance(first, Measurement) else ""
    cell = Number(write, first.value, first.interval, first.status, first.evidence, reason, hint)
    cell = replace(cell, plus_minus=declared(metric).plus_minus)
    if declared(metric).hardware_dependent and declared(metric).group not in _OF_WEIGHTS and group.network is not None:
        cell = replace(cell, network=f"{group.network} in {runtime_of(first.axes)}")
    # Time, size and MACs are properties of the architecture: the first seed that has them is shown.
    if not declared(metric).scored or len(group.distinct) == 1:
        return cell
    ids = {card.id for card in group.distinct}
    by_seed = [r for r in valued if (r.model if isinstance(r, Measurement) else r.student) in ids]
    return _over_seeds(metric, cell, by_seed, len(ids)) if by_seed else cell


def _over_seeds(metric: str, first: Number, valued: Sequence[Measurement | Pair], seeds: int) -> Number:
    """Return the mean over the seeds that have a value; it is unstable if any of them is."""
    if len(valued) == 1:
        return Number(first.write, first.value, first.interval, first.status, aside=f"1 of {seeds} seeds")
    numbers = [(r.value, r.interval) for r in valued if r.value is not None]
    if declared(metric).p_value:
        from kdbench import statistics  # as in `mean_over_seeds`

        value, interval = statistics.p_of_dependent_tests([value for value, _ in numbers]), None
    else:
        value, interval = mean_over_seeds(numbers, declared(metric).value_range)
    unstable = next((result for result in valued if result.status == "unstable"), None)
    reason = (unstable.reason or "") if unstable else ""
    aside = "" if len(valued) == seeds else f"{len(valued)} of {seeds} seeds"
    return Number(first.write, value, interval, "unstable" if unstable else "ok", first.evidence, reason, aside=aside)
