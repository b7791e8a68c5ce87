"""The sweep of Hao, "A Study of Response-Based Knowledge Distillation and the Effects of Alpha on Model Accuracy"."""

from functools import partial

from kdbench import units
from kdbench.errors import InputError
from kdbench.report.cells import Cell, Column, Number, Row, Table, Text, finished
from kdbench.report.families import Family, Value, families, is_number
from kdbench.report.figures.families import sweeps
from kdbench.report.rescaling import rescaled
from kdbench.report.settings import is_taught
from kdbench.report.styles import STYLES, Layout
from kdbench.report.subjects import ModelGroup, number, subjects
from kdbench.results.records import RunRecord

_AXES = {"ce_weight": "Alpha"}  # the study's word, for the weight of the loss with the labels
_SCORE = "Accuracy Score"


@STYLES.register("sweep")
def sweep(record: RunRecord) -> Layout:
    """Accuracy score along each sweep of the recipe, one column for each value of the other axes (after Hao)."""
    found = families(record)
    if not found:
        raise InputError(f"{record.name} has no sweep", "run a recipe with one, such as kdbench run mnist_dense")
    tables = tuple(_grid(record, family) for family in found)
    after = 'Hao, "A Study of Response-Based Knowledge Distillation and the Effects of Alpha on Model Accuracy"'
    return Layout(after, tables, (sweeps,))


def _grid(record: RunRecord, family: Family) -> Table:
    """Return a sweep as the study's figure has it: along one axis, a column for each combination of the others."""
    along = family.main_axis
    members = {(family.point(m)[along], _others(family, m)): m for m in family.members}
    others = list(dict.fromkeys(other for _, other in members))
    values, numeric = family.axes[along], all(is_number(value) for value in family.axes[along])
    columns = [
        Column(_axis(along), numeric=numeric),
        *(Column(_head(other), higher_is_better=True, unit="share") for other in others),
    ]
    rows = [
        Row((Text(str(value)), *(_score(record, members.get((value, other))) for other in others)), group=family.name)
        for value in (sorted(values, key=float) if numeric else values)
    ]
    by = " and ".join(_axis(axis) for axis in sorted(family.axes, key=lambda axis: axis != along))
    return finished(f"Accuracy Scores across {by}: {family.name}", columns, rows, _notes(record, family))


def _score(record: RunRecord, member: ModelGroup | None) -> Cell:
    if member is None:
        return Text("–")
    return _written(number(record, member, "top1"))


def _written(top1: Number) -> Number:
    return rescaled(top1, 1, partial(units.fixed, decimals=4))


def _others(family: Family, member: ModelGroup) -> tuple[tuple[str, Value], ...]:
    return tuple((axis, value) for axis, value in family.point(member).items() if axis != family.main_axis)


def _head(other: tuple[tuple[str, Value], ...]) -> str:
    words = [f"{value} epochs" if axis == "epochs" else f"{_axis(axis)} {value}" for axis, value in other]
    return f"{_SCORE}, {', '.join(words)}" if words else _SCORE


def _axis(axis: str) -> str:
    return _AXES.get(axis, axis.capitalize().replace("_", " "))


def _notes(record: RunRecord, family: Family) -> list[str]:
    """Say how good the teachers are, and the students of the labels alone that are no part of the sweep."""
    swept = {member.label for member in family.members}
    if all(member.role == "teacher" for member in family.members):
        return []
    beside = [
        each
        for each in subjects(record)
        if each.label not in swept and (each.role == "teacher" or (each.role == "student" and not is_taught(each)))
    ]
    told = [f"`{each.label}` {_with_interval(_written(number(record, each, 'top1')))}" for each in beside]
    alpha = (
        ["Alpha: the weight of the cross-entropy with the labels (`ce_weight`)."] if "ce_weight" in family.axes else []
    )
    return [
        *alpha,
        *([f"Beside the sweep (teachers, and students of the labels alone): {', '.join(told)}."] if told else []),
        "Accuracy score: the share of test samples classified rightly, from 0 to 1. Bold: the best of its column.",
    ]


def _with_interval(cell: Number) -> str:
    return f"{cell.text} {cell.interval_text}".rstrip()
