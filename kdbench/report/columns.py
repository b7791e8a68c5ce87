"""Columns and rows as every table of a report makes them."""

from collections.abc import Iterable
from dataclasses import replace

from kdbench.report.cells import Cell, Column, Number, Row, Text
from kdbench.report.subjects import ModelGroup, number
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Axes, RunRecord


def column(metric: str) -> Column:
    """Return the column of a metric: its title, and which direction is better."""
    known = declared(metric)
    return Column(known.title, known.higher_is_better, unit=known.unit)


def row(subject: ModelGroup, *cells: Cell) -> Row:
    """Return the row of a subject; all but the teacher's compete."""
    return Row((Text(subject.label, code=True), *cells), group=None if subject.role == "teacher" else "students")


def taken(record: RunRecord, metrics: Iterable[str]) -> bool:
    """Return whether the record has, or says why it has not, any of `metrics`."""
    return any(measurement.metric in set(metrics) for measurement in record.measurements)


def number_at(record: RunRecord, subject: ModelGroup, metric: str, axes: Axes) -> Number:
    """Return the number at `axes`, or at another batch (said so, and not comparable) if the model's is fixed."""
    cell = number(record, subject, metric, axes)
    fixed = subject.cards[0].fixed_batch
    if cell.value is not None or fixed is None or fixed == axes.get("batch"):
        return cell
    other = number(record, subject, metric, {**axes, "batch": fixed})
    return other if other.value is None else replace(other, aside=f"batch {fixed}", comparable=False)
