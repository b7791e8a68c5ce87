"""The tables of Gupta et al., "Exploring Knowledge Distillation"."""

from dataclasses import replace
from functools import partial

from kdbench import units
from kdbench.errors import InputError
from kdbench.report.axes import format_axes, headline
from kdbench.report.cells import Cell, Number
from kdbench.report.model_groups import ModelGroup, dataset, hidden_sizes, is_timed, model_groups, settings, teacher_of
from kdbench.report.numbers import number
from kdbench.report.styles import STYLES, Layout
from kdbench.report.table import Column, Field, Table, metric_field, model_table, text_field
from kdbench.results.records import Axes, RunRecord

_RATIO = "Inference Time Ratio (Teacher{0}/{0}Student)"


@STYLES.register("ratio")
def ratio(record: RunRecord) -> Layout:
    """Accuracy, training time and inference time ratio of every student (after Gupta et al.)."""
    students = [group for group in model_groups(record) if teacher_of(record, group) is not None]
    if not any(pair.metric == "latency_ratio" for pair in record.pairs):
        raise InputError(f"{record.name} has no inference time ratio", _remedy(record, students))
    dense = bool(record.recipe) and all(hidden_sizes(student) is not None for student in students)
    by_experiment = partial(_table, fields=_numbers(record, _RATIO.format(" ")), name="Experiment")  # table 2
    table = _by_setting(record, students) if dense else by_experiment(record, students)
    return Layout('Gupta et al., "Exploring Knowledge Distillation"', (table,))


def _remedy(record: RunRecord, students: list[ModelGroup]) -> str:
    """Return how to measure the ratio: with a teacher, with times, and in a mode whose times are compared."""
    if not students:
        return "measure both: kdbench bench TEACHER.onnx STUDENT.onnx"
    again, run = "repeat it in another folder", record.kind == "run"
    if not is_timed(record):
        return f"measure times too: {again} {'with --set measure.times=true' if run else 'without --no-times'}"
    mode = """--set 'measure.mode=["stream"]'""" if run else "--mode stream"
    return f"measure calls back to back: {again} with {mode}"


def _by_setting(record: RunRecord, students: list[ModelGroup]) -> Table:
    """Return table 1: dense students with their settings, the highest ratio first."""
    by_label = {student.label: settings(record, student) for student in students}

    def setting(head: str, name: str) -> Field:
        texts = {label: "–" if (v := getattr(chosen, name)) is None else f"{v:g}" for label, chosen in by_label.items()}
        return text_field(head, lambda student: texts[student.label], numeric=True)

    fields = [
        text_field("Student Layer Size", lambda student: hidden_sizes(student) or "–", numeric=True),
        setting("Temperature", "temperature"),
        setting("No. of Epochs", "epochs"),
        setting("Batch Size", "batch"),
        *_numbers(record, _RATIO.format("")),
        text_field("Student", lambda student: student.label, code=True),
    ]
    ranked = sorted(students, key=lambda student: -(_speed_up(record, student).value or 0.0))
    return _table(record, ranked, fields=fields, name=None)


def _table(record: RunRecord, students: list[ModelGroup], *, fields: list[Field], name: str | None) -> Table:
    title = f"Experiments on {data} dataset" if (data := dataset(record)) else "Experiments"
    return model_table(title, students, fields, _notes(record), ranking=partial(teacher_of, record), name=name)


def _numbers(record: RunRecord, ratio_head: str) -> list[Field]:
    def training_time(student: ModelGroup, _: Axes) -> Cell:
        seconds = number(record, student, "training_s")
        short = seconds.value is not None and seconds.value < 100
        return replace(seconds, write=partial(units.fixed, decimals=3 if short else 1))

    return [
        metric_field(record, "top1", head="Accuracy"),
        Field(Column("Training Time (seconds)", higher_is_better=False), training_time),
        Field(Column(ratio_head, higher_is_better=True), lambda student, _: _speed_up(record, student)),
    ]


def _speed_up(record: RunRecord, student: ModelGroup) -> Number:
    return number(record, student, "latency_ratio", headline(record))


def _notes(record: RunRecord) -> list[str]:
    labels = {teacher_of(record, group) for group in model_groups(record)}
    teachers = [group for group in model_groups(record) if group.label in labels]
    axes = headline(record)
    several = len(teachers) > 1
    return [
        *(
            f"Teacher `{teacher.label}`: accuracy {number(record, teacher, 'top1').with_interval}, average inference "
            f"time {number(record, teacher, 'latency_mean_ns', axes).with_interval}."
            for teacher in teachers
        ),
        (
            "Inference time ratio: teacher over student, from paired, interleaved blocks of calls"
            f"{format_axes(axes, ', at ')} (in the study: of two average times)"
            f"{'; each student is compared with its own teacher' if several else ''}."
        ),
        "Training time: the epochs of the student, validation included, without the training of its teacher.",
        f"Bold: the best of its column{' among students of one teacher' if several else ''}.",
    ]
