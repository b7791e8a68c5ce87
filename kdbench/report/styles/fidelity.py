"""The tables of Shin's talk "Towards understanding knowledge distillation", on Cho & Hariharan and Stanton et al."""

from collections.abc import Callable
from functools import partial

from kdbench.errors import InputError
from kdbench.report.cells import Cell, Text, complement, percent
from kdbench.report.model_groups import ModelGroup, is_distilled, model_groups, network, teacher_of
from kdbench.report.numbers import number
from kdbench.report.styles import STYLES, Layout, shown
from kdbench.report.table import Column, Field, Table, metric_field, model_table, text_field
from kdbench.report.tables.accuracy import TRAIN
from kdbench.results.records import Axes, RunRecord

_PARTS: tuple[tuple[str, Axes], ...] = (("Train", TRAIN), ("Test", {}))
_KL = "KL: KL(teacher‖student) in nats at temperature 1 (in the talk: the distillation loss, at that of the training)."

_STUDENT = text_field("Student", lambda student: student.label, code=True)


@STYLES.register("fidelity")
def fidelity(record: RunRecord) -> Layout:
    """KD error, agreement and KL on train and test, by student and teacher (after Shin)."""
    if not any(m.metric == "agreement" and m.value is not None for m in record.measurements):
        raise InputError(
            f"{record.name} has no agreement of a student with its teacher",
            "measure both on test data: kdbench bench TEACHER.onnx STUDENT.onnx --data NAME",
        )
    after = 'Shin, "Towards understanding knowledge distillation" (Cho & Hariharan 2019; Stanton et al. 2021)'
    return Layout(after, shown(build(record, _students(record)) for build in (_kd_error, _errors, _losses, _agreement)))


def _students(record: RunRecord) -> list[ModelGroup]:
    """Return the students with a teacher, grouped by network, those trained on labels only first."""
    students = [group for group in model_groups(record) if teacher_of(record, group) is not None]
    networks = list(dict.fromkeys(map(network, students)))
    return sorted(students, key=lambda student: (networks.index(network(student)), is_distilled(student)))


def _teacher(record: RunRecord) -> Field:
    return text_field("Teacher", lambda student: teacher_of(record, student) or "", code=True)


def _error(record: RunRecord, head: str, metric: str = "top1", axes: Axes | None = None) -> Field:
    """Return a column of 1 - a share, in per cent."""
    return Field(Column(head), lambda student, _: percent(complement(number(record, student, metric, axes))))


def _kd_error(record: RunRecord, students: list[ModelGroup]) -> Table:
    fields = [_teacher(record), *(_error(record, f"KD Error (%, {part})", "agreement", axes) for part, axes in _PARTS)]
    train = (
        "Train: images that the student was trained on, without augmentation, with the training labels."
        if _has_train(record)
        else "Training images were not evaluated: set `analysis.train_samples` in the recipe."
    )
    notes = ["KD error: 1 − top-1 agreement of student and teacher.", train]
    return model_table("Capacity Discrepancy", students, fields, notes, name="Student")


def _errors(record: RunRecord, students: list[ModelGroup]) -> Table:
    groups = {group.label: group for group in model_groups(record)}

    def write_teacher(write: Callable[[str], Cell]) -> Callable[[ModelGroup, Axes], Cell]:
        return lambda student, _: write(teacher_of(record, student) or "") if is_distilled(student) else Text("-")

    def error(teacher: str) -> Cell:
        return percent(complement(number(record, groups[teacher], "top1")))

    fields = [
        Field(Column("Teacher", numeric=False), write_teacher(partial(Text, code=True))),
        Field(Column("Teacher Error (%)"), write_teacher(error)),
        _error(record, "Student Error (%)"),
        _STUDENT,
    ]
    notes = ["Error: 1 − top-1, on the test set. A dash: trained on the labels only."]
    return model_table("Teacher Error and Student Error", students, fields, notes, name=None)


def _losses(record: RunRecord, students: list[ModelGroup]) -> Table:
    distilled = [student for student in students if is_distilled(student)] if _has_train(record) else []
    fields = [
        _teacher(record),
        _error(record, "Top-1 Error (%, Test)"),
        metric_field(record, "loss", TRAIN, head="CE (Train)", higher_is_better=None),
        *(metric_field(record, "predictive_kl", at, head=f"KL ({part})", higher_is_better=None) for part, at in _PARTS),
        _STUDENT,
    ]
    notes = ["CE: cross-entropy with the labels, in nats.", _KL]
    return model_table("Cross-Entropy and Distillation", distilled, fields, notes, name=None)


def _agreement(record: RunRecord, students: list[ModelGroup]) -> Table:
    heads = {"agreement": "Average Top-1 Agreement", "predictive_kl": "Average Predictive KL"}
    fields = [
        _teacher(record),
        *(
            metric_field(record, metric, axes, head=f"{head} ({part})", higher_is_better=None)
            for metric, head in heads.items()
            for part, axes in _PARTS
        ),
        metric_field(record, "top1", head="Top-1 (Test)", higher_is_better=None),
    ]
    return model_table("Fidelity and Generalization", students, fields, [_KL], name="Student")


def _has_train(record: RunRecord) -> bool:
    return any(m.axes == TRAIN and m.value is not None for m in record.measurements)
