"""The tables of Roset et al., "Understanding Teacher-Student Architectural Choices on Knowledge Distillation"."""

from kdbench.errors import InputError
from kdbench.report.cells import Column, Number, Row, Table, Text, finished
from kdbench.report.figures.curves import training_curves
from kdbench.report.rescaling import millions, percent
from kdbench.report.settings import is_taught, network, settings
from kdbench.report.styles import STYLES, Layout
from kdbench.report.subjects import ModelGroup, number, subjects
from kdbench.results.records import RunRecord

_TOP1 = Column("Top-1 Acc.(%)", higher_is_better=True)
_YES_NO = {True: "Y", False: "N", None: "–"}


@STYLES.register("teachers")
def teachers(record: RunRecord) -> Layout:
    """Teachers and the student they teach, then accuracy by teacher and settings (after Roset, Thomas, Lisboa)."""
    students = [each for each in subjects(record) if each.role == "student"]
    if not any(is_taught(each) for each in students):
        raise InputError(
            f"no student of {record.name} was taught by a teacher",
            "run a recipe whose students have a teacher, such as kdbench run digits",
        )
    after = 'Roset, Thomas, Lisboa, "Understanding Teacher-Student Architectural Choices on Knowledge Distillation"'
    return Layout(after, (_models(record, students), _trained(record, students)), (training_curves,))


def _models(record: RunRecord, students: list[ModelGroup]) -> Table:
    """Return table 1: each teacher, and each student's network once."""
    teaching = {teacher for each in students for card in each.cards for teacher in card.teachers}
    masters = [each for each in subjects(record) if teaching & set(each.ids)]
    networks: dict[str, list[ModelGroup]] = {}
    for each in students:
        networks.setdefault(network(each), []).append(each)
    columns = [
        Column("Ref", numeric=False),
        Column("Model", numeric=False),
        _TOP1,
        Column("Top-5 Acc.(%)"),
        Column("#Params.(M)"),
        Column("#MAdds(M)"),
    ]
    rows = [
        *(
            _model(record, f"Teacher {place}" if len(masters) > 1 else "Teacher", master.label, master, [master])
            for place, master in enumerate(masters, 1)
        ),
        *(
            _model(record, f"Student {place}" if len(networks) > 1 else "Student", name, _alone(same), same)
            for place, (name, same) in enumerate(networks.items(), 1)
        ),
    ]
    notes = [
        "A student's accuracy is that of its network trained on the labels alone.",
        "MAdds: one multiply–accumulate counts one, of convolutions, linear layers and matrix products only.",
    ]
    return finished("Metrics of the selected models", columns, rows, notes)


def _alone(same: list[ModelGroup]) -> ModelGroup | None:
    """Return the first of one network's students that no teacher taught, if there is one."""
    return next((each for each in same if not is_taught(each)), None)


def _model(record: RunRecord, ref: str, name: str, accurate: ModelGroup | None, same: list[ModelGroup]) -> Row:
    """Return a row with the accuracies of `accurate` and the costs of `same`, which all have one network's."""
    untaught = Number(str, reason="not trained alone")
    return Row(
        (
            Text(ref),
            Text(name, code=True),
            *(percent(number(record, accurate, id_)) if accurate else untaught for id_ in ("top1", "top5")),
            *(millions(number(record, same[0], id_)) for id_ in ("parameters", "macs")),
        )
    )


def _trained(record: RunRecord, students: list[ModelGroup]) -> Table:
    """Return table 2: students by whom they were taught and with which settings, those from scratch first."""
    columns = [
        Column("Teacher", numeric=False),
        Column("Mixup", numeric=False),
        Column("Learning Rate"),
        Column("Temperature"),
        _TOP1,
        Column("Student", numeric=False),
    ]
    rows = []
    for student in sorted(students, key=is_taught):
        of, labels = settings(record, student), _taught_by(record, student)
        rows.append(
            Row(
                (
                    Text(" + ".join(labels), code=True) if labels else Text("Trained from scratch"),
                    Text(_YES_NO[of.mixup]),
                    Text("–" if of.learning_rate is None else f"{of.learning_rate:g}"),
                    Text("NA" if of.temperature is None else f"{of.temperature:g}"),
                    percent(number(record, student, "top1")),
                    Text(student.label, code=True),
                ),
                group="students",
            )
        )
    notes = ["Top-1 on the test set. NA: no term of the objective has a temperature. Bold: the best of its column."]
    return finished("Accuracy comparisons of the trained models", columns, rows, notes)


def _taught_by(record: RunRecord, student: ModelGroup) -> list[str]:
    taught_by = set(student.cards[0].teachers)
    return [each.label for each in subjects(record) if taught_by & set(each.ids)]
