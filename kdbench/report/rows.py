"""The tables of a report, built here once. Markdown, CSV, the terminal and any other format only draw them."""

from collections.abc import Callable
from dataclasses import replace

from kdbench import units
from kdbench.report.axes import batched_axes, headline, in_words, protocol_batch
from kdbench.report.calibration import calibration
from kdbench.report.cells import Column, Number, Row, Table, Text, finished
from kdbench.report.classes import per_class
from kdbench.report.columns import column, number_at, row
from kdbench.report.costs import cost, start_and_memory
from kdbench.report.energy import energy, energy_per_run, energy_ratio, has_ratios, notes_on_ratios, notes_on_runs
from kdbench.report.families import swept
from kdbench.report.fidelity import fidelity, train_against_test
from kdbench.report.label_noise import label_noise
from kdbench.report.latency import latency
from kdbench.report.layers import time_by_operator, where_the_time_goes
from kdbench.report.mismatches import examples, mismatches
from kdbench.report.offline import offline
from kdbench.report.risk import risk_variance
from kdbench.report.subjects import number, pair_number, subjects, teacher_of
from kdbench.report.sweeps import speedups
from kdbench.report.training import training
from kdbench.results.records import RunRecord

_BOLD = (
    "Bold: the best number of its column among the students (the teacher is the reference and does not compete; "
    "estimates and unstable numbers never do). Where two intervals overlap, their order is not settled."
)


def tables(record: RunRecord) -> list[Table]:
    """Return the tables of the report that have something to show, in reading order."""
    return [table for build in _TABLES if (table := build(record)).shown]


def summary(record: RunRecord) -> Table:
    """Return the table a study reports: accuracy, mean latency, file size, energy and MACs of each model."""
    axes, batch = headline(record), protocol_batch(record)
    columns = [
        Column("Model", numeric=False),
        column("top1"),
        column("top5"),
        Column("Avg. latency", higher_is_better=False, unit="ns"),
        column("size_bytes"),
        column("energy_run_j"),
        Column("MACs / batch", higher_is_better=False),
    ]
    rows = [
        row(
            subject,
            number(record, subject, "top1"),
            number(record, subject, "top5"),
            number_at(record, subject, "latency_mean_ns", axes),
            number(record, subject, "size_bytes"),
            energy_per_run(record, subject),
            _times(number(record, subject, "macs"), batch),
        )
        for subject in subjects(record)
    ]
    notes = [
        f"Avg. latency: mean time of one call{in_words(axes, ' at ')}.",
        *notes_on_runs(record),
        (
            f"MACs / batch: for a batch of {batch}; one multiply–accumulate counts one, of convolutions, linear layers "
            "and matrix products only."
        ),
        *_seed_notes(record),
    ]
    table = finished("Summary", columns, rows, notes)
    flagged = any(isinstance(cell, Number) and cell.best for row in table.rows for cell in row.cells)
    return replace(table, notes=(*table.notes, _BOLD)) if flagged else table


def ratios(record: RunRecord) -> Table:
    """Return what each student gains and loses against its teacher."""
    axes, batched = headline(record), batched_axes(record)
    compared = has_ratios(record)
    columns = [
        Column("Student", numeric=False),
        Column("Teacher", numeric=False),
        column("latency_ratio"),
        *([Column("Batched speed-up", higher_is_better=True)] if batched else []),
        column("size_ratio"),
        column("macs_ratio"),
        *([column("energy_ratio")] if compared else []),
        Column("Top-1 drop (points)", higher_is_better=False),
        column("training_s"),
    ]
    rows = []
    for subject in subjects(record):
        teacher = teacher_of(record, subject)
        if teacher is None:
            continue
        cells = [
            pair_number(record, subject, "latency_ratio", axes),
            *([pair_number(record, subject, "latency_ratio", batched)] if batched else []),
            pair_number(record, subject, "size_ratio"),
            pair_number(record, subject, "macs_ratio"),
            *([energy_ratio(record, subject)] if compared else []),
            pair_number(record, subject, "top1_drop"),
            number(record, subject, "training_s"),
        ]
        rows.append(Row((Text(subject.label, code=True), Text(teacher, code=True), *cells), group=teacher))
    notes = [
        (
            "Ratios are teacher over student: 2× means that the student needs half of it. The drop is teacher minus "
            "student, in percentage points: above 0 the student is less accurate."
        ),
        (
            f"Speed-up: from interleaved, paired blocks{in_words(axes, ' at ')}"
            f"{in_words(batched, '; batched: at ') if batched else ''}."
        ),
        *notes_on_ratios(record),
    ]
    return finished("Student against teacher", columns, rows, notes)


_TABLES: tuple[Callable[[RunRecord], Table], ...] = (
    summary,
    ratios,
    swept,
    fidelity,
    train_against_test,
    calibration,
    per_class,
    label_noise,
    mismatches,
    examples,
    risk_variance,
    latency,
    speedups,
    offline,
    energy,
    cost,
    start_and_memory,
    where_the_time_goes,
    time_by_operator,
    training,
)


def _times(cell: Number, factor: int) -> Number:
    return cell if cell.value is None else replace(cell, value=cell.value * factor)


def _seed_notes(record: RunRecord) -> list[str]:
    several = [subject for subject in subjects(record) if len(subject.cards) > 1]
    if not several:
        return []
    counts = sorted({len(subject.cards) for subject in several})
    n = units.count(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    who = "All models" if len(several) == len(subjects(record)) else ", ".join(f"`{s.label}`" for s in several)
    what = "accuracy, loss, fidelity and what else logits tell are the mean over"
    return [f"{who}: {what} {n} seeds, with a Student-t interval over the seeds; all else is of the first seed."]
