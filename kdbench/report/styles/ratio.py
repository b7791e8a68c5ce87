"""The tables of Gupta et al., "Exploring Knowledge Distillation"."""

from functools import partial

from kdbench import units
from kdbench.errors import InputError
from kdbench.report.axes import headline, in_words
from kdbench.report.cells import Cell, Column, Number, Row, Table, Text, finished
from kdbench.report.rescaling import rescaled
from kdbench.report.settings import dataset, hidden_sizes, settings
from kdbench.report.styles import STYLES, Layout
from kdbench.report.subjects import ModelGroup, number, pair_number, subjects, teacher_of
from kdbench.results.records import RunRecord

_COSTS = (
    Column("Accuracy", higher_is_better=True, unit="share"),
    Column("Training Time (seconds)", higher_is_better=False),
)
_RATIO = "Inference Time Ratio (Teacher{0}/{0}Student)"


@STYLES.register("ratio")
def ratio(record: RunRecord) -> Layout:
    """Accuracy, training time and inference time ratio of every student (after Gupta et al.)."""
    students = [each for each in subjects(record) if teacher_of(record, each) is not None]
    if not any(pair.metric == "latency_ratio" for pair in record.pairs):
        raise InputError(
            f"{record.name} has no inference time ratio", "measure both: kdbench bench TEACHER.onnx STUDENT.onnx"
        )
    dense = bool(record.recipe) and all(hidden_sizes(each) is not None for each in students)
    table = _by_setting(record, students) if dense else _by_experiment(record, students)
    return Layout('Gupta et al., "Exploring Knowledge Distillation"', (table,))


def _by_setting(record: RunRecord, students: list[ModelGroup]) -> Table:
    """Return table 1: dense students by what they were trained with, the highest ratio first."""
    heads = ("Student Layer Size", "Temperature", "No. of Epochs", "Batch Size")
    columns = [
        *(Column(head) for head in heads),
        *_COSTS,
        Column(_RATIO.format(""), higher_is_better=True),
        Column("Student", numeric=False),
    ]
    rows = []
    for student in students:
        of = settings(record, student)
        cells: list[Cell] = [Text(hidden_sizes(student) or "–"), *map(_setting, (of.temperature, of.epochs, of.batch))]
        rows.append(_row(record, student, [*cells, *_numbers(record, student), Text(student.label, code=True)]))
    at = len(heads) + len(_COSTS)
    rows.sort(key=lambda row: -_value(row.cells[at]))
    return finished(_title(record), columns, rows, _notes(record))


def _by_experiment(record: RunRecord, students: list[ModelGroup]) -> Table:
    """Return table 2: one experiment a row, in the record's order."""
    columns = [
        Column("Experiment", numeric=False),
        *_COSTS,
        Column(_RATIO.format(" "), higher_is_better=True),
    ]
    rows = [_row(record, student, [Text(student.label, code=True), *_numbers(record, student)]) for student in students]
    return finished(_title(record), columns, rows, _notes(record))


def _row(record: RunRecord, student: ModelGroup, cells: list[Cell]) -> Row:
    return Row(tuple(cells), group=teacher_of(record, student))


def _numbers(record: RunRecord, student: ModelGroup) -> list[Number]:
    seconds = number(record, student, "training_s")
    return [
        number(record, student, "top1"),
        rescaled(seconds, 1, partial(units.fixed, decimals=3 if _short(seconds) else 1)),
        pair_number(record, student, "latency_ratio", headline(record)),
    ]


def _short(seconds: Number) -> bool:
    return seconds.value is not None and seconds.value < 100


def _setting(value: float | None) -> Text:
    return Text("–" if value is None else f"{value:g}")


def _value(cell: Cell) -> float:
    return cell.value if isinstance(cell, Number) and cell.value is not None else 0.0


def _title(record: RunRecord) -> str:
    name = dataset(record)
    return f"Experiments on {name} dataset" if name else "Experiments"


def _notes(record: RunRecord) -> list[str]:
    teachers = dict.fromkeys(teacher_of(record, each) for each in subjects(record))
    axes = headline(record)
    told = []
    for teacher in subjects(record):
        if teacher.label not in teachers:
            continue
        top1, time = number(record, teacher, "top1"), number(record, teacher, "latency_mean_ns", axes)
        told.append(f"Teacher `{teacher.label}`: accuracy {_text(top1)}, average inference time {_text(time)}.")
    several = len(told) > 1
    return [
        *told,
        (
            "Inference time ratio: teacher over student, of paired blocks of calls that took turns"
            f"{in_words(axes, ', at ')} (in the study: of two average times)"
            f"{'; each student has the ratio to its own teacher' if several else ''}."
        ),
        "Training time: the epochs of this student, validation included, without its teacher's training.",
        f"Bold: the best of its column{' among students of one teacher' if several else ''}.",
    ]


def _text(cell: Number) -> str:
    return f"{cell.text} {cell.interval_text}".rstrip()
