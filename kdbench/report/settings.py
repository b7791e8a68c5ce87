"""What the recipe set for each model: its training, its network, and its point in a sweep."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kdbench.report.model_groups import ModelGroup, model_groups
from kdbench.results.records import RunRecord

_TEMPERATURE = re.compile(r"\bT = (\d+(?:\.\d+)?)")  # as an objective states it, a method's default included
_DENSE = re.compile(r"\d+(?:-\d+)+")

Value = str | int | float | bool


@dataclass(frozen=True)
class Settings:
    """Settings of one training; None where the record does not have them.

    `epochs` is the number of epochs that were trained, `temperature` that of the first term with one, `mixup` whether
    images were mixed.
    """

    epochs: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    temperature: float | None = None
    mixup: bool | None = None


@dataclass(frozen=True)
class Family:
    """The models of one sweep, in the recipe's order; `name` is the recipe entry that generated them."""

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
                of_axis = values.setdefault(axis, [])
                if value not in of_axis:
                    of_axis.append(value)
        return values

    @cached_property
    def main_axis(self) -> str:
        """The axis to draw along: the numeric one with the most values, or the one with the most if none is numeric."""
        numeric = [axis for axis, values in self.axes.items() if all(is_number(value) for value in values)]
        return max(numeric or self.axes, key=lambda axis: len(self.axes[axis]))


def settings(record: RunRecord, group: ModelGroup) -> Settings:
    """Return the training settings of a group's first seed."""
    card = group.cards[0]
    entries = [entry for role in ("teacher", "student") for entry in (record.recipe or {}).get(role, ())]
    entry: Mapping[str, Any] = next((entry for entry in entries if entry.get("name") == group.label), {})
    training = _table(entry, "training")
    augment = _table(_table(entry, "data"), "augment")
    temperature = _TEMPERATURE.search(card.training.objective) if card.training else None
    return Settings(
        epochs=card.training.epochs if card.training else None,
        batch=training.get("batch"),
        learning_rate=_table(training, "optimizer").get("lr"),
        temperature=float(temperature[1]) if temperature else None,
        mixup=bool(augment.get("mixup")) if "mixup" in augment else None,
    )


def dataset(record: RunRecord) -> str | None:
    """Return the name of the data set in a run's recipe; None without a recipe."""
    name = _table(record.recipe or {}, "data").get("name")
    return str(name) if name else None


def network(group: ModelGroup) -> str:
    """Return a group's architecture with its options, as text."""
    card = group.cards[0]
    if card.architecture is None:
        return group.label
    options = ", ".join(f"{key} {_plain(value)}" for key, value in card.options.items())
    return f"{card.architecture} ({options})" if options else card.architecture


def hidden_sizes(group: ModelGroup) -> str | None:
    """Return the sizes of the hidden layers of a dense network such as 784-300-10; None for any other."""
    architecture = group.cards[0].architecture or ""
    return "-".join(architecture.split("-")[1:-1]) or "0" if _DENSE.fullmatch(architecture) else None


def is_distilled(group: ModelGroup) -> bool:
    """Return whether a student was trained with a teacher rather than with labels only."""
    return bool(group.cards[0].teachers)


def families(record: RunRecord) -> list[Family]:
    """Return the sweeps of two points or more, in the record's order."""
    members: dict[str, list[ModelGroup]] = {}
    for group in model_groups(record):
        card = group.cards[0]
        if card.family is not None and card.axes:
            members.setdefault(card.family, []).append(group)
    return [Family(name, tuple(groups)) for name, groups in members.items() if len(groups) > 1]


def is_number(value: Value) -> bool:
    """Return whether a value of an axis has a place on a scale."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = content.get(key)
    return table if isinstance(table, Mapping) else {}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(_plain(item) for item in value.values())
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
