"""A study's numbers compared with this run's: theirs, ours with its interval, and whether they agree."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kdbench import units
from kdbench.report.axes import format_axes
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.model_groups import ModelGroup, model_groups
from kdbench.report.numbers import mean_over_seeds, number
from kdbench.report.table import Column, Row, Table, finished
from kdbench.report.tables.gains import baselines, gain
from kdbench.results.metrics import METRICS, Metric
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Interval, Measurement, RunRecord, difference

_HEADS = {"Model": False, "Metric": False, "Reported": True, "This run": True, "Agrees": False, "Source": False}
_NOTE = (
    "Agrees: the reported number is within this run's interval. Reported numbers have no interval, and the study may "
    "have trained differently: the last column says what is known about that."
)


def reported(record: RunRecord) -> Table:
    """Return a row for each number that the recipe quotes from a study."""
    listed = (record.recipe or {}).get("reported")
    rows = [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
    groups = {group.label: group for group in model_groups(record)}
    columns = [Column(head, numeric=numeric) for head, numeric in _HEADS.items()]
    return finished("Compared with the study", columns, [_row(record, groups, entry) for entry in rows], [_NOTE])


def _row(record: RunRecord, groups: Mapping[str, ModelGroup], entry: Mapping[str, Any]) -> Row:
    metric, axes, minus = declared(entry["metric"]), entry.get("axes") or {}, entry.get("minus")
    write = _difference_text(metric) if minus else metric.text
    names = [entry["model"], *([minus] if minus else [])]
    present = [groups[name] for name in names if name in groups]
    if len(present) < len(names):
        ours = Number(write, status="unavailable", reason="not in this run")
    elif minus:
        ours = _difference(record, metric, present[0], present[1], axes, write)
    else:
        ours = number(record, present[0], metric.id, axes)
    at = f", {format_axes(axes)}" if axes else ""
    source = "; ".join(filter(None, (entry.get("source"), entry.get("about"))))
    theirs = Number(write, float(entry["value"]))
    label = Text(" − ".join(names), code=not minus)
    return Row((label, Text(f"{metric.title}{at}"), theirs, ours, _agrees(theirs, ours), Text(source)))


def _difference(
    record: RunRecord, metric: Metric, first: ModelGroup, second: ModelGroup, axes: Any, write: Callable[[float], str]
) -> Number:
    """Return first - second: on the same samples if so measured, else the mean over the seeds, or from each number."""
    paired = f"{metric.id}_gain"
    if paired in METRICS and not axes and second in baselines(record, first):
        cell = gain(record, first, second, paired)
        if cell.value is not None:
            return replace(cell, write=write)
    a, b = (number(record, group, metric.id, axes) for group in (first, second))
    if a.value is None or b.value is None:
        return Number(write, status="unavailable", reason=a.reason if a.value is None else b.reason)
    trained = metric.scored and any(len(group.distinct) > 1 for group in (first, second))
    by_seed = _by_seed(record, metric, first, second, axes) if trained else []
    if len(by_seed) > 1:
        value, interval = mean_over_seeds(by_seed, metric.difference_range)
        return _scaled(write, value, interval, metric)
    return _scaled(write, a.value - b.value, _difference_interval(a, b), metric)


def _by_seed(
    record: RunRecord, metric: Metric, first: ModelGroup, second: ModelGroup, axes: Any
) -> list[tuple[float, Interval | None]]:
    differences = []
    others = {card.seed: card.id for card in second.cards}
    for card in first.cards:
        a, b = (record.find(id_, metric.id, **axes) if id_ else None for id_ in (card.id, others.get(card.seed)))
        if a is not None and b is not None and a.value is not None and b.value is not None:
            differences.append((a.value - b.value, _difference_interval(a, b)))
    return differences


def _difference_interval(a: Number | Measurement, b: Number | Measurement) -> Interval | None:
    """Return the interval of a - b, as if independent: numbers from the same samples have a narrower one."""
    if a.value is None or b.value is None or a.interval is None or b.interval is None:
        return None
    low, high = difference((b.value, b.interval.low, b.interval.high), (a.value, a.interval.low, a.interval.high))
    return Interval(low=low, high=high, level=a.interval.level)


def _scaled(write: Callable[[float], str], value: float, interval: Interval | None, metric: Metric) -> Number:
    scale = metric.to_points
    if interval is not None:
        interval = Interval(low=scale * interval.low, high=scale * interval.high, level=interval.level)
    return Number(write, scale * value, interval)


def _agrees(theirs: Number, ours: Number) -> Cell:
    if theirs.value is None or ours.value is None:
        return Text("")
    if ours.interval is not None and ours.interval.low <= theirs.value <= ours.interval.high:
        return Text("yes")
    if theirs.plain == ours.plain:
        return Text("yes")
    return Text(f"no: this run's is {'higher' if ours.value > theirs.value else 'lower'}")


def _difference_text(metric: Metric) -> Callable[[float], str]:
    if metric.in_points:
        return lambda value: f"{units.points(value)} points"
    return lambda value: f"{'+' if value > 0 else ''}{metric.text(value)}"
