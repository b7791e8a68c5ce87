"""The sweep of Hao, "A Study of Response-Based Knowledge Distillation and the Effects of Alpha on Model Accuracy"."""

from dataclasses import replace
from functools import partial

from kdbench import units
from kdbench.errors import InputError
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.figures.accuracy import sweep_accuracy
from kdbench.report.model_groups import Family, ModelGroup, Value, families, is_distilled, model_groups
from kdbench.report.numbers import number
from kdbench.report.scores import ACCURACY, score_of
from kdbench.report.styles import STYLES, Layout
from kdbench.report.table import DASH, Column, Row, Table, finished
from kdbench.results.metrics import METRICS
from kdbench.results.records import RunRecord

_AXES = {"ce_weight": "Alpha"}  # the study's term for the weight of the loss with the labels
_SCORE = "Accuracy Score"
_MEANINGS = {
    "top1": "Accuracy score: the share of test samples classified correctly, from 0 to 1.",
    "rmse": "RMSE: the root of the mean squared error on the test samples.",
}


@STYLES.register("sweep")
def sweep(record: RunRecord) -> Layout:
    """Accuracy score along each sweep of the recipe, one column for each value of the other axes (after Hao)."""
    swept = families(record)
    if not swept:
        raise InputError(f"{record.name} has no sweep", "run a recipe with one, such as kdbench run mnist_dense")
    tables = tuple(_grid(record, family) for family in swept)
    after = 'Hao, "A Study of Response-Based Knowledge Distillation and the Effects of Alpha on Model Accuracy"'
    return Layout(after, tables, (sweep_accuracy,))


def _grid(record: RunRecord, family: Family) -> Table:
    """Return a sweep as in the study's figure: along one axis, a column for each combination of the others."""
    along = family.main_axis
    members = {(family.point(member)[along], _others(family, member)): member for member in family.members}
    others = list(dict.fromkeys(other for _, other in members))
    values, numeric = family.axes[along], family.is_numeric(along)
    score = score_of(record)
    name = _SCORE if score is ACCURACY else score.axis
    columns = [
        Column(_axis(along), numeric=numeric),
        *(Column(_head(other, name), score.higher_is_better, unit=METRICS[score.metric].unit) for other in others),
    ]

    def cell(value: Value, other: tuple[tuple[str, Value], ...]) -> Cell:
        member = members.get((value, other))
        return DASH if member is None else _score(record, member)

    rows = [
        Row((Text(str(value)), *(cell(value, other) for other in others)), ranking=family.name)
        for value in (sorted(values, key=float) if numeric else values)
    ]
    by = " and ".join(_axis(axis) for axis in sorted(family.axes, key=lambda axis: axis != along))
    return finished(f"{name}s across {by}: {family.name}", columns, rows, _notes(record, family))


def _score(record: RunRecord, group: ModelGroup) -> Number:
    return replace(number(record, group, score_of(record).metric), write=partial(units.fixed, decimals=4))


def _others(family: Family, member: ModelGroup) -> tuple[tuple[str, Value], ...]:
    return tuple((axis, value) for axis, value in family.point(member).items() if axis != family.main_axis)


def _head(other: tuple[tuple[str, Value], ...], name: str) -> str:
    words = [f"{value} epochs" if axis == "epochs" else f"{_axis(axis)} {value}" for axis, value in other]
    return f"{name}, {', '.join(words)}" if words else name


def _axis(axis: str) -> str:
    return _AXES.get(axis, axis.capitalize().replace("_", " "))


def _notes(record: RunRecord, family: Family) -> list[str]:
    """Return the accuracy of the teachers and of the students trained on labels only, for comparison."""
    swept = {member.label for member in family.members}
    if all(member.role == "teacher" for member in family.members):
        return []
    scores = [
        f"`{group.label}` {_score(record, group).with_interval}"
        for group in model_groups(record)
        if group.label not in swept
        if group.role == "teacher" or (group.role == "student" and not is_distilled(group))
    ]
    loss = "cross-entropy" if score_of(record) is ACCURACY else "squared error"
    alpha = f"Alpha: the weight of the {loss} with the labels (`ce_weight`)."
    return [
        *([alpha] if "ce_weight" in family.axes else []),
        *([f"For comparison (teachers, and students trained on labels only): {', '.join(scores)}."] if scores else []),
        f"{_MEANINGS[score_of(record).metric]} Bold: the best of its column.",
    ]
