"""Where KL ranks a wrong student before a right one, and what standardizing the logits changes."""

from dataclasses import replace

from kdbench.report.cells import Cell, Column, Number, Row, Table, Text, finished
from kdbench.report.columns import column
from kdbench.report.fidelity import TRAIN
from kdbench.report.subjects import ModelGroup, number, subjects
from kdbench.results.metrics import METRICS, metrics_in
from kdbench.results.records import Axes, Measurement, RunRecord

_COUNTS = metrics_in("mismatches")
_EXAMPLES = 4
_EXAMPLE = ("predictive_kl", "standardized_kl", "logit_spearman")


def mismatches(record: RunRecord) -> Table:
    """Return how often each student and the independent one are mismatched, before and after standardization."""
    counted = [m for m in record.measurements if m.metric == "mismatches"]
    on_train = any("part" in m.axes for m in counted)
    parts: list[tuple[str, Axes]] = [("test", {}), *([("train", TRAIN)] if on_train else [])]
    columns = [
        Column("Student", numeric=False),
        Column("Beside", numeric=False),
        *(Column(f"{METRICS[metric].title}, {part}", intervals=False) for part, _ in parts for metric in _COUNTS),
    ]
    rows = []
    for subject in subjects(record):
        first = next((m for m in counted if m.model in subject.ids), None)
        if first is not None:
            other = record.cards[str(first.axes["beside"])].name
            cells = [_count(record, subject, metric, axes) for _, axes in parts for metric in _COUNTS]
            rows.append(Row((Text(subject.label, code=True), Text(other, code=True), *cells)))
    notes = [
        (
            "A mismatch: the teacher and just one of the two students name the label, and that student has the larger "
            "KL(teacher‖student); `of` counts the samples on which just one does. Fixed: by the KL of standardized "
            "logits it has not. Made: it has by that alone."
        )
    ]
    return finished("Mismatch analysis", columns, rows, notes)


def examples(record: RunRecord) -> Table:
    """Return the first mismatch that standardization fixes, of each pair of students, up to four pairs."""
    found: dict[tuple[str, str], dict[str, Measurement]] = {}
    for m in record.measurements:
        if "sample" in m.axes:
            found.setdefault((m.model, str(m.axes["beside"])), {})[m.metric] = m
    pairs = [(student, other) for student, other in found if _is_distilled(record, student, other)]
    columns = [
        Column("Sample", numeric=False),
        Column("Model", numeric=False),
        *(replace(column(metric), higher_is_better=None) for metric in _EXAMPLE),
        Column("Prediction", numeric=False),
    ]
    rows = [_row(record, found[key]) for one, other in pairs[:_EXAMPLES] for key in ((one, other), (other, one))]
    left = len(pairs) - _EXAMPLES
    notes = [
        (
            "The first sample of the test set, counted from 0, on which standardization puts the two students in the "
            f"right order.{f' {left} more pairs have one in the record.' if left > 0 else ''}"
        )
    ]
    return finished("A mismatch that standardization fixes", columns, rows, notes)


def _is_distilled(record: RunRecord, student: str, other: str) -> bool:
    counted = record.find(student, "mismatches")
    return counted is not None and counted.axes["beside"] == other


def _count(record: RunRecord, subject: ModelGroup, metric: str, axes: Axes) -> Number:
    cell = replace(number(record, subject, metric, axes), write=_counted)
    of = next((m.n for id_ in subject.ids if (m := record.find(id_, metric, **axes))), None)
    tell = metric == "mismatches" and cell.value is not None and len(subject.ids) == 1
    return replace(cell, aside=f"of {of:,}") if tell and of is not None else cell


def _counted(count: float) -> str:
    """Write a count, or the mean of several."""
    return f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"


def _row(record: RunRecord, told: dict[str, Measurement]) -> Row:
    right = told["top1"]
    cells: list[Cell] = [_number(told[metric]) for metric in _EXAMPLE]
    sample, name = right.axes["sample"], right.axes["class"]
    return Row(
        (
            Text(f"{sample} ({name})"),
            Text(record.cards[right.model].name, code=True),
            *cells,
            Text("right" if right.value else "wrong"),
        )
    )


def _number(m: Measurement) -> Number:
    return Number(METRICS[m.metric].text, m.value, status=m.status, reason=m.reason or "")
