"""Sweeps of a recipe: which models are points of one, and where on it each lies."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from kdbench.report.cells import Cell, Column, Row, Table, Text, finished
from kdbench.report.columns import column, taken
from kdbench.report.subjects import ModelGroup, have_one_teacher, number, pair_number, subjects
from kdbench.results.records import RunRecord

Value = str | int | float | bool


@dataclass(frozen=True)
class Family:
    """The models of one sweep, in the recipe's order; `name` is the entry's they were made of."""

    name: str
    members: tuple[ModelGroup, ...]

    def point(self, member: ModelGroup) -> Mapping[str, Value]:
        """Return a member's value on each axis."""
        return member.cards[0].axes

    @cached_property
    def axes(self) -> dict[str, list[Value]]:
        """The axes, each with its values in the recipe's order."""
        values: dict[str, list[Value]] = {}
        for member in self.members:
            for axis, value in self.point(member).items():
                seen = values.setdefault(axis, [])
                if value not in seen:
                    seen.append(value)
        return values

    @cached_property
    def main_axis(self) -> str:
        """The axis to draw along: of those in numbers, or else of all, the first with the most values."""
        numeric = [axis for axis, values in self.axes.items() if all(is_number(value) for value in values)]
        return max(numeric or self.axes, key=lambda axis: len(self.axes[axis]))


def families(record: RunRecord) -> list[Family]:
    """Return the sweeps of two points or more that the record has models of, in its order."""
    members: dict[str, list[ModelGroup]] = {}
    for subject in subjects(record):
        card = subject.cards[0]
        if card.family is not None and card.axes:
            members.setdefault(card.family, []).append(subject)
    return [Family(name, tuple(found)) for name, found in members.items() if len(found) > 1]


def is_number(value: Value) -> bool:
    """Return whether a value of an axis has a place on a scale."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def swept(record: RunRecord) -> Table:
    """Return the table of all sweeps: one row a point."""
    followed = [metric for metric in ("agreement", "predictive_kl") if taken(record, [metric])]
    columns = [
        *(Column(head, numeric=False) for head in ("Sweep", "Point", "Model")),
        column("top1"),
        *([column("top1_drop")] if followed else []),
        *(column(metric) for metric in followed),
        column("training_s"),
    ]
    rows = [_row(record, family, member, followed) for family in families(record) for member in family.members]
    notes = ["Bold: the best of its sweep. What is not an axis of a sweep is the same for all of its points."]
    return finished("Sweeps", columns, rows, notes)


def _row(record: RunRecord, family: Family, member: ModelGroup, followed: list[str]) -> Row:
    point = ", ".join(f"{axis} {value}" for axis, value in family.point(member).items())
    against = [metric for metric in followed if member.role == "student"]
    alike = have_one_teacher(record, family.members)
    cells: list[Cell] = [number(record, member, "top1")]
    if followed:
        drop = pair_number(record, member, "top1_drop")
        cells.append(replace(drop, comparable=alike) if against else Text("–"))
    cells += [
        replace(number(record, member, metric), comparable=alike) if against else Text("–") for metric in followed
    ]
    cells.append(number(record, member, "training_s"))
    return Row((Text(family.name, code=True), Text(point), Text(member.label, code=True), *cells), group=family.name)
