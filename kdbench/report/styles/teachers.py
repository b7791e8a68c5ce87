"""The tables of Roset et al., "Understanding Teacher-Student Architectural Choices on Knowledge Distillation"."""

from kdbench.errors import InputError
from kdbench.report.cells import Number, Text, millions, percent
from kdbench.report.figures.accuracy import training_curves
from kdbench.report.model_groups import ModelGroup, groups_with, is_distilled, model_groups, network, settings
from kdbench.report.numbers import number
from kdbench.report.styles import STYLES, Layout
from kdbench.report.table import Column, Field, Row, Table, finished, model_table, text_field, words
from kdbench.results.records import RunRecord

_TOP1 = Column("Top-1 Acc.(%)", higher_is_better=True)
_YES_NO = {True: "Y", False: "N", None: "–"}


@STYLES.register("teachers")
def teachers(record: RunRecord) -> Layout:
    """Teachers and their student, then accuracy by teacher and settings (after Roset, Thomas, Lisboa)."""
    students = [group for group in model_groups(record) if group.role == "student"]
    if not any(map(is_distilled, students)):
        raise InputError(
            f"{record.name} has no student trained with a teacher",
            "run a recipe whose students have a teacher, such as kdbench run digits",
        )
    after = 'Roset, Thomas, Lisboa, "Understanding Teacher-Student Architectural Choices on Knowledge Distillation"'
    return Layout(after, (_models(record, students), _trained(record, students)), (training_curves,))


def _models(record: RunRecord, students: list[ModelGroup]) -> Table:
    """Return table 1: each teacher, and each student network once."""
    used = {teacher for student in students for card in student.cards for teacher in card.teachers}
    sources = groups_with(record, used)
    networks: dict[str, list[ModelGroup]] = {}
    for student in students:
        networks.setdefault(network(student), []).append(student)
    label_only = {network(student): student for student in reversed(students) if not is_distilled(student)}
    columns = [*words("Ref", "Model"), _TOP1, *map(Column, ("Top-5 Acc.(%)", "#Params.(M)", "#MAdds(M)"))]
    rows = [
        *(
            _model(record, f"Teacher {n}" if len(sources) > 1 else "Teacher", source.label, source, source)
            for n, source in enumerate(sources, 1)
        ),
        *(
            _model(record, f"Student {n}" if len(networks) > 1 else "Student", name, label_only.get(name), same[0])
            for n, (name, same) in enumerate(networks.items(), 1)
        ),
    ]
    notes = [
        "The accuracy of a student network is that of its training on the labels only.",
        "MAdds: multiply–accumulates of convolutions, linear layers and matrix products.",
    ]
    return finished("Metrics of the selected models", columns, rows, notes)


def _model(record: RunRecord, ref: str, name: str, trained: ModelGroup | None, costs: ModelGroup) -> Row:
    """Return a row with the accuracies of `trained` and the costs of `costs`, which has the same network."""
    missing = Number(str, reason="not trained alone")
    return Row(
        (
            Text(ref),
            Text(name, code=True),
            *(percent(number(record, trained, metric)) if trained else missing for metric in ("top1", "top5")),
            *(millions(number(record, costs, metric)) for metric in ("parameters", "macs")),
        )
    )


def _trained(record: RunRecord, students: list[ModelGroup]) -> Table:
    """Return table 2: students by teacher and settings, those trained from scratch first."""
    by_label = {student.label: settings(record, student) for student in students}

    def plain(value: float | None, missing: str) -> str:
        return missing if value is None else f"{value:g}"

    def teacher(student: ModelGroup) -> Text:
        labels = [group.label for group in groups_with(record, student.cards[0].teachers)]
        return Text(" + ".join(labels), code=True) if labels else Text("Trained from scratch")

    fields = [
        Field(Column("Teacher", numeric=False), lambda student, _: teacher(student)),
        text_field("Mixup", lambda student: _YES_NO[by_label[student.label].mixup]),
        text_field("Learning Rate", lambda student: plain(by_label[student.label].learning_rate, "–"), numeric=True),
        text_field("Temperature", lambda student: plain(by_label[student.label].temperature, "NA"), numeric=True),
        Field(_TOP1, lambda student, _: percent(number(record, student, "top1"))),
        text_field("Student", lambda student: student.label, code=True),
    ]
    notes = ["Top-1 on the test set. NA: no term of the objective has a temperature. Bold: the best of its column."]
    ordered = sorted(students, key=is_distilled)
    return model_table("Accuracy comparisons of the trained models", ordered, fields, notes, name=None)
