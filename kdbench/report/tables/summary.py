"""The two tables that a report begins with: all models at a glance, and each student against its teacher."""

from dataclasses import replace
from functools import partial

from kdbench import units
from kdbench.report.axes import batched_axes, format_axes, headline, protocol_batch
from kdbench.report.cells import Number, listed
from kdbench.report.model_groups import (
    ModelGroup,
    group_of,
    has_metric,
    has_one_seed,
    is_timed,
    model_groups,
    teacher_of,
)
from kdbench.report.numbers import number, number_at_batch
from kdbench.report.scores import score_of
from kdbench.report.table import Column, Field, Table, column, metric_field, model_table, note_on_bold, text_field
from kdbench.report.tables.energy import energy_per_run, energy_ratio, has_ratios, ratio_note, run_note
from kdbench.results.cards import teacher_behind
from kdbench.results.records import Axes, RunRecord

_BOLD = (
    "Bold: the best value of its column among the students, unless all are equal. The teacher is the reference and "
    "does not compete; estimates never do. Where two intervals overlap, the order is not settled."
)
_ONE_NETWORK = "Networks that differ only in the weights are equally fast: they compete with the mean of their times."
_ONE_SEED = (
    "One seed: the interval of an {noun} covers the choice of test samples, not what a training with another seed "
    "would change."
)
_RATIOS = "Ratios are teacher over student: 2× means that the student needs half as much."
_UNBALANCED = 1.5  # the ratio of two classes' test samples from which the larger one dominates top-1


def summary(record: RunRecord) -> Table:
    """Return accuracy, mean latency, file size, energy and MACs of each model."""
    axes, batch = headline(record), protocol_batch(record)

    def batch_macs(group: ModelGroup, _: Axes) -> Number:
        macs = number(record, group, "macs")
        return macs if macs.value is None else replace(macs, value=macs.value * batch)

    timed = is_timed(record)
    latency = Field(
        column("latency_mean_ns", head="Avg. latency"),
        lambda group, _: number_at_batch(record, group, "latency_mean_ns", axes),
    )
    energy = Field(column("energy_run_j"), lambda group, _: energy_per_run(record, group))
    fields = [
        *(metric_field(record, metric) for metric in score_of(record).columns),
        *([metric_field(record, "balanced_accuracy")] if unbalanced(record) else []),
        *([latency] if timed else []),
        metric_field(record, "size_bytes"),
        *([energy] if timed else []),
        Field(Column("MACs / batch", higher_is_better=False), batch_macs),
    ]
    notes = [
        *([f"Avg. latency: mean time of one call{format_axes(axes, ' at ')}.", run_note(record)] if timed else []),
        (
            f"MACs / batch: for a batch of {batch}. Only the multiply–accumulates of convolutions, linear layers and "
            "matrix products count."
        ),
        _seed_note(record),
    ]
    table = model_table("Summary", model_groups(record), fields, notes)
    flagged = any(isinstance(cell, Number) and cell.best for row in table.rows for cell in row.cells)
    return replace(table, notes=(*table.notes, _bold_note(record))) if flagged else table


def _bold_note(record: RunRecord) -> str:
    networks = [
        group.network for group in model_groups(record) if group.role != "teacher" and group.network is not None
    ]
    return f"{_BOLD} {_ONE_NETWORK}" if is_timed(record) and len(set(networks)) < len(networks) else _BOLD


def unbalanced(record: RunRecord) -> bool:
    """Return whether the largest class has at least _UNBALANCED times as many test samples as the smallest."""
    counts = [m.n for m in record.measurements if m.metric == "class_top1" and m.n]
    return has_metric(record, "balanced_accuracy") and max(counts, default=0) >= _UNBALANCED * min(counts, default=1)


def ratios(record: RunRecord) -> Table:
    """Return what each student gains and loses against its teacher."""
    axes, batched, reference = headline(record), batched_axes(record), partial(teacher_of, record)
    score = score_of(record)
    with_energy = [Field(column("energy_ratio"), lambda group, _: energy_ratio(record, group))]
    fields = [
        text_field("Teacher", lambda student: reference(student) or "", code=True),
        *([metric_field(record, "latency_ratio", axes)] if is_timed(record) else []),
        *([metric_field(record, "latency_ratio", batched, head="Batched speed-up", unit="")] if batched else []),
        metric_field(record, "size_ratio"),
        metric_field(record, "macs_ratio"),
        *(with_energy if has_ratios(record) else []),
        metric_field(record, score.against_teacher, head=score.against_head, unit=""),
        *([metric_field(record, "training_s")] if has_metric(record, "training_s") else []),
    ]
    at = f"{format_axes(axes, ' at ')}{format_axes(batched, '; batched: at ')}"
    timed_notes = [f"Speed-up: from interleaved, paired blocks{at}.", ratio_note(record)] if is_timed(record) else []
    notes = [f"{_RATIOS} {score.against_note}", *timed_notes]
    students = [group for group in model_groups(record) if reference(group) is not None]
    notes.append(note_on_bold(map(reference, students), "teacher or source"))
    return model_table("Student against teacher", students, fields, notes, ranking=reference, name="Student")


def variants(record: RunRecord) -> Table:
    """Return what each compressed variant gains and loses against its source's teacher, if the source is a student."""
    teachers = {group.label: _source_teacher(record, group) for group in model_groups(record)}
    with_teacher = [group for group in model_groups(record) if teachers[group.label] is not None]

    def against(metric: str, axes: Axes | None = None) -> Field:
        def cell(group: ModelGroup, _: Axes) -> Number:
            teacher = teachers[group.label]
            assert teacher is not None, "models without a teacher have no row"
            return number(record, group, metric, axes, teacher=teacher.ids)

        return Field(column(metric), cell)

    timed = [against("latency_ratio", headline(record))] if is_timed(record) else []
    drop = score_of(record).against_teacher
    scored = [replace(against(drop), column=column(drop, head=score_of(record).against_head, unit=""))]
    fields = [
        text_field("Teacher", lambda group: teacher.label if (teacher := teachers[group.label]) else "", code=True),
        *timed,
        *(against(metric) for metric in ("size_ratio", "macs_ratio")),
        *(scored if drop == "top1_drop" else []),
    ]
    notes = ["Each variant against the teacher of its source; limits `…_vs_teacher` use these numbers."]
    return model_table("Variant against teacher", with_teacher, fields, notes, name="Variant")


def _source_teacher(record: RunRecord, group: ModelGroup) -> ModelGroup | None:
    """Return the teacher of a variant's source, if the variant was compared with both."""
    teacher = teacher_behind(group.cards[0], record.cards)
    compared = {pair.teacher for pair in record.pair_index.for_model(group.cards[0].id)}
    if teacher not in compared or len(compared) < 2:
        return None
    return group_of(record)[teacher]


def _seed_note(record: RunRecord) -> str:
    groups = model_groups(record)
    several = [group for group in groups if len(group.distinct) > 1]
    if not several:
        return _ONE_SEED.format(noun=score_of(record).noun) if has_one_seed(record) else ""
    counts = sorted({len(group.distinct) for group in several})
    n = units.count(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    others = [group.label for group in groups if len(group.distinct) == 1]
    models = listed(group.label for group in several)
    if len(others) < len(several):
        models = f"All models but {listed(others)}" if others else "All models"
    return (
        f"{models}: {score_of(record).noun}, loss, fidelity and all other metrics of the predictions are means over "
        f"{n} seeds. Their intervals cover the choice of seeds and, where the number of one seed has an interval, of "
        "test samples. All other metrics are of the first seed."
    )
