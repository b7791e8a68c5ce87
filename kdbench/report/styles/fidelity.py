"""The tables of Shin's talk "Towards understanding knowledge distillation", on Cho & Hariharan and Stanton et al."""

from kdbench.errors import InputError
from kdbench.report.cells import Cell, Column, Row, Table, Text, finished
from kdbench.report.fidelity import TRAIN
from kdbench.report.rescaling import complement, percent
from kdbench.report.settings import is_taught, network
from kdbench.report.styles import STYLES, Layout, shown
from kdbench.report.subjects import ModelGroup, number, subjects, teacher_of
from kdbench.results.metrics import metric
from kdbench.results.records import Axes, RunRecord

_TEST: Axes = {}
_KL = "KL: KL(teacher‖student) in nats at temperature 1 (in the talk: the distillation loss, at the training's)."


@STYLES.register("fidelity")
def fidelity(record: RunRecord) -> Layout:
    """KD error, agreement and KL on train and test, by student and teacher (after Shin)."""
    students = _students(record)
    if not any(m.metric == "agreement" and m.value is not None for m in record.measurements):
        raise InputError(
            f"{record.name} knows of no student how it follows a teacher",
            "that needs both and test data: kdbench bench TEACHER.onnx STUDENT.onnx --data NAME",
        )
    tables = (
        _kd_error(record, students),
        _errors(record, students),
        _losses(record, students),
        _agreement(record, students),
    )
    after = 'Shin, "Towards understanding knowledge distillation" (Cho & Hariharan 2019; Stanton et al. 2021)'
    return Layout(after, shown(tables))


def _students(record: RunRecord) -> list[tuple[ModelGroup, str]]:
    """Return the students with their teachers' labels: those of one network together, untaught ones first."""
    found = [(each, teacher) for each in subjects(record) if (teacher := teacher_of(record, each)) is not None]
    networks = list(dict.fromkeys(network(each) for each, _ in found))
    return sorted(found, key=lambda pair: (networks.index(network(pair[0])), is_taught(pair[0])))


def _kd_error(record: RunRecord, students: list[tuple[ModelGroup, str]]) -> Table:
    columns = [
        Column("Student", numeric=False),
        Column("Teacher", numeric=False),
        Column("KD Error (%, Train)"),
        Column("KD Error (%, Test)"),
    ]
    rows = [
        Row(
            (
                Text(student.label, code=True),
                Text(teacher, code=True),
                *(percent(complement(number(record, student, "agreement", part))) for part in (TRAIN, _TEST)),
            )
        )
        for student, teacher in students
    ]
    notes = ["KD error: 1 − top-1 agreement of student and teacher.", *_on_train(record)]
    return finished("Capacity Discrepancy", columns, rows, notes)


def _errors(record: RunRecord, students: list[tuple[ModelGroup, str]]) -> Table:
    columns = [
        Column("Teacher", numeric=False),
        Column("Teacher Error (%)"),
        Column("Student Error (%)"),
        Column("Student", numeric=False),
    ]
    known = {each.label: each for each in subjects(record)}
    rows = []
    for student, teacher in students:
        of_teacher: tuple[Cell, Cell] = (Text("-"), Text("-"))
        if is_taught(student):
            of_teacher = (Text(teacher, code=True), percent(complement(number(record, known[teacher], "top1"))))
        own = percent(complement(number(record, student, "top1")))
        rows.append(Row((*of_teacher, own, Text(student.label, code=True))))
    notes = ["Error: 1 − top-1, on the test set. A dash: trained on the labels alone."]
    return finished("Teacher Error and Student Error", columns, rows, notes)


def _losses(record: RunRecord, students: list[tuple[ModelGroup, str]]) -> Table:
    columns = [
        Column("Teacher", numeric=False),
        Column("Top-1 Error (%, Test)"),
        Column("CE (Train)", unit="nats"),
        Column("KL (Train)", unit="nats"),
        Column("KL (Test)", unit="nats"),
        Column("Student", numeric=False),
    ]
    rows = [
        Row(
            (
                Text(teacher, code=True),
                percent(complement(number(record, student, "top1"))),
                number(record, student, "loss", TRAIN),
                number(record, student, "predictive_kl", TRAIN),
                number(record, student, "predictive_kl"),
                Text(student.label, code=True),
            )
        )
        for student, teacher in (students if _looked_at_train(record) else [])
        if is_taught(student)
    ]
    return finished(
        "Cross-Entropy and Distillation", columns, rows, ["CE: cross-entropy with the labels, in nats.", _KL]
    )


def _agreement(record: RunRecord, students: list[tuple[ModelGroup, str]]) -> Table:
    parts = (("Train", TRAIN), ("Test", _TEST))
    measured = (("Average Top-1 Agreement", "agreement"), ("Average Predictive KL", "predictive_kl"))
    columns = [
        Column("Student", numeric=False),
        Column("Teacher", numeric=False),
        *(Column(f"{head} ({part})", unit=metric(id_).unit) for head, id_ in measured for part, _ in parts),
        Column("Top-1 (Test)", unit="share"),
    ]
    rows = [
        Row(
            (
                Text(student.label, code=True),
                Text(teacher, code=True),
                *(number(record, student, id_, axes) for _, id_ in measured for _, axes in parts),
                number(record, student, "top1"),
            )
        )
        for student, teacher in students
    ]
    return finished("Fidelity and Generalization", columns, rows, [_KL])


def _looked_at_train(record: RunRecord) -> bool:
    return any(m.axes == TRAIN and m.value is not None for m in record.measurements)


def _on_train(record: RunRecord) -> list[str]:
    if _looked_at_train(record):
        return ["Train: images that the student was trained on, without augmentation, with the labels it was told."]
    return ["Training images were not looked at: set `analysis.train_samples` in the recipe."]
