"""Throughput offline: the most samples a second, at the batch where each model has them."""

from dataclasses import replace

from kdbench.report.axes import in_words
from kdbench.report.cells import Cell, Column, Number, Row, Table, Text, finished
from kdbench.report.columns import column
from kdbench.report.subjects import ModelGroup, number, pair_number, subjects, teacher_of
from kdbench.results.records import Axes, Measurement, RunRecord

_BEST = "max_throughput_per_s"


def offline(record: RunRecord) -> Table:
    """Return each model's largest throughput, where it has it, and what that is beside its teacher's."""
    taken = settings(record)
    several = len(taken) > 1
    columns = [
        Column("Model", numeric=False),
        *([Column("Threads")] if several else []),
        column(_BEST),
        Column("At batch"),
        Column("Batches tried"),
        Column("At batch 1", higher_is_better=True),
        column("throughput_ratio"),
    ]
    rows = [
        Row(
            (
                Text(subject.label, code=True),
                *([Text(str(axes.get("threads", "–")))] if several else []),
                *_cells(record, subject, axes),
            ),
            group=None if subject.role == "teacher" else tuple(sorted(axes.items())),
        )
        for axes in taken
        for subject in subjects(record)
        if any(record.find(id_, _BEST, **axes) for id_ in subject.ids)
    ]
    where = {key: value for axes in taken[:1] for key, value in axes.items() if key != "mode" and not several}
    notes = [
        (
            "Samples, not calls, a second, calls following each other at once, at the batch where they are most"
            f"{in_words(where, '; all at ')}. The ratio is the student's over its teacher's, each at its own best "
            "batch, within the same sessions."
        ),
        f"Tried were {record.protocol.get('offline', 'batches 1, 2, 4, …')}.",
    ]
    return finished("Throughput (offline)", columns, rows, notes)


def by_batch(record: RunRecord, subject: ModelGroup, axes: Axes) -> dict[int, Measurement]:
    """Return the throughputs of a subject, by batch, the smallest first."""
    found = [
        m
        for m in record.measurements
        if m.model in subject.ids and m.metric == "throughput_per_s" and m.value is not None
        if axes.items() <= m.axes.items()
    ]
    return {batch: m for m in sorted(found, key=_batch) if (batch := _batch(m))}


def settings(record: RunRecord) -> list[dict[str, str | int]]:
    """Return the axes at which batches were swept, each once."""
    found = [m.axes for m in record.measurements if m.metric == _BEST and m.axes]
    return [axes for index, axes in enumerate(found) if axes not in found[:index]]


def _cells(record: RunRecord, subject: ModelGroup, axes: Axes) -> list[Cell]:
    rates = by_batch(record, subject, axes)
    best = max(rates, key=lambda batch: rates[batch].value or 0.0, default=None)
    ratio: Cell = Text("–")
    if teacher_of(record, subject) is not None:
        ratio = pair_number(record, subject, "throughput_ratio", axes)
    return [
        _said(record, subject, number(record, subject, _BEST, axes)),
        Text("–" if best is None else str(best)),
        Text("–" if not rates else f"{min(rates)} to {max(rates)}" if len(rates) > 1 else f"{best} only"),
        number(record, subject, "throughput_per_s", {**axes, "batch": 1}) if 1 in rates else Text("–"),
        ratio,
    ]


def _said(record: RunRecord, subject: ModelGroup, cell: Number) -> Number:
    """Return the cell with what the record warns of: that larger batches were not tried."""
    told = [w for w in record.warnings if w.code == "offline_shortened" and w.model in subject.ids]
    if not told or cell.value is None or cell.reason:
        return cell
    return replace(cell, reason="; ".join(w.message for w in told), hint=told[0].remedy)


def _batch(measurement: Measurement) -> int:
    batch = measurement.axes.get("batch", 0)
    return batch if isinstance(batch, int) else 0
