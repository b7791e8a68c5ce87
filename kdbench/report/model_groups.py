"""Groups of models that share a row, one model per training seed; their settings and sweeps."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kdbench.files import storage
from kdbench.results.cards import ModelCard, Role, seed_groups
from kdbench.results.records import RunRecord
from kdbench.results.records.index import once_per_record

_TEMPERATURE = re.compile(r"\bT = (\d+(?:\.\d+)?)")  # as an objective states it, a method's default included
_DENSE = re.compile(r"\d+(?:-\d+)+")

Value = str | int | float | bool

_OF_NETWORK = {
    *("architecture", "options", "bits", "pruned", "input_shape", "fixed_batch", "classes", "parameters", "opset")
}


@dataclass(frozen=True)
class ModelGroup:
    """The cards that share a row: one model, or one name trained with several seeds (`cards[0]` is the first)."""

    label: str
    role: Role
    cards: tuple[ModelCard, ...]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The cards' ids, in the record's order."""
        return tuple(card.id for card in self.cards)

    @cached_property
    def distinct(self) -> tuple[ModelCard, ...]:
        """The first card of each file: a network that is not trained has the same file with every seed."""
        files: dict[str, ModelCard] = {}
        for card in self.cards:
            files.setdefault(card.sha256, card)
        return tuple(files.values())

    @cached_property
    def network(self) -> str | None:
        """A key that groups share if their networks differ in the weights only.

        Variants share it if the same layers of such networks were compressed with the same settings. It is None for
        files whose architecture is not known.
        """
        card = self.cards[0]
        if card.architecture is None:
            return None
        network, made = card.model_dump(mode="json", include=_OF_NETWORK), card.variant
        if made is not None:
            settings = made.model_dump(mode="json", include={"method", "settings"})
            network["variant"] = [settings, sorted(made.ranges), made.facts.get("kept_float")]
        return storage.canonical_json(network)


@once_per_record
def model_groups(record: RunRecord) -> list[ModelGroup]:
    """Return the groups of a record: teachers first, then in the record's order.

    A group has the name of its models, or the id of its model where several groups share the name.
    """
    by_seed = seed_groups(record.models)
    names = Counter(cards[0].name for cards in by_seed)
    groups = [
        ModelGroup(first.name if names[first.name] == 1 else first.id, first.role, (first, *others))
        for first, *others in by_seed
    ]
    return sorted(groups, key=lambda group: group.role != "teacher")


@once_per_record
def group_of(record: RunRecord) -> Mapping[str, ModelGroup]:
    """Return the group of each model by the model's id, in the order of `model_groups`."""
    return {id_: group for group in model_groups(record) for id_ in group.ids}


def groups_with(record: RunRecord, ids: Iterable[str]) -> list[ModelGroup]:
    """Return the groups that have any of the models `ids`, in the order of `model_groups`."""
    by_id, positions = group_of(record), _positions(record)
    groups = {by_id[id_].ids: by_id[id_] for id_ in ids if id_ in by_id}
    return sorted(groups.values(), key=lambda group: positions[group.ids])


@once_per_record
def _positions(record: RunRecord) -> Mapping[tuple[str, ...], int]:
    return {group.ids: position for position, group in enumerate(model_groups(record))}


def teacher_of(record: RunRecord, group: ModelGroup) -> str | None:
    """Return the label of the model that `group` is compared with, or None."""
    return _teachers(record).get(group.ids)


@once_per_record
def _teachers(record: RunRecord) -> Mapping[tuple[str, ...], str]:
    """Return the label of the first model that each group is compared with, by the group's ids."""
    labels = group_of(record)
    firsts = {
        group.ids: next((pair.teacher for id_ in group.ids for pair in record.pair_index.for_model(id_)), None)
        for group in model_groups(record)
    }
    return {ids: labels[teacher].label for ids, teacher in firsts.items() if teacher is not None}


def have_one_teacher(record: RunRecord, groups: Iterable[ModelGroup]) -> bool:
    """Return whether all `groups` with a teacher have the same one; otherwise no relative number is marked best."""
    parents = {parent for group in groups for card in group.cards for parent in card.parents}
    return len({record.cards[parent].name if parent in record.cards else None for parent in parents}) <= 1


def has_seeds(record: RunRecord) -> bool:
    """Return whether any numbers are means over several seeds."""
    return any(len(group.distinct) > 1 for group in model_groups(record))


def has_one_seed(record: RunRecord) -> bool:
    """Return whether models were trained, each with one seed: no number shows what another seed would change."""
    return any(card.training is not None for card in record.models) and not has_seeds(record)


def has_metric(record: RunRecord, *metrics: str) -> bool:
    """Return whether the record has any of `metrics`, with a value or with a reason why there is none."""
    return record.measurement_index.has(*metrics)


def is_timed(record: RunRecord) -> bool:
    """Return whether the run measured times and energy, and not only scores, sizes and MACs."""
    return bool(record.protocol.get("times", True))


@dataclass(frozen=True)
class Settings:
    """Settings of one training; None if the record does not have them.

    `epochs` counts the trained epochs; `temperature` is that of the first term with one; `mixup`: images were mixed.
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
        points = [self.point(member) for member in self.members]
        axes = dict.fromkeys(axis for point in points for axis in point)
        return {axis: list(dict.fromkeys(point[axis] for point in points if axis in point)) for axis in axes}

    @cached_property
    def main_axis(self) -> str:
        """The axis to draw along: the numeric one with the most values, or the one with the most if none is numeric."""
        numeric = [axis for axis in self.axes if self.is_numeric(axis)]
        return max(numeric or self.axes, key=lambda axis: len(self.axes[axis]))

    def is_numeric(self, axis: str) -> bool:
        """Return whether all values of an axis are numbers."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.axes[axis])


def settings(record: RunRecord, group: ModelGroup) -> Settings:
    """Return the training settings of a group's first seed."""
    card = group.cards[0]
    entry = entry_of(record, group)
    training = subtable(entry, "training")
    augment = subtable(subtable(entry, "data"), "augment")
    temperature = _TEMPERATURE.search(card.training.objective) if card.training else None
    return Settings(
        epochs=card.training.epochs if card.training else None,
        batch=training.get("batch"),
        learning_rate=subtable(training, "optimizer").get("lr"),
        temperature=float(temperature[1]) if temperature else None,
        mixup=bool(augment.get("mixup")) if "mixup" in augment else None,
    )


def entry_of(record: RunRecord, group: ModelGroup) -> Mapping[str, Any]:
    """Return the recipe's table of a group's models; without one, an empty table."""
    return _entries(record).get(group.label, {})


@once_per_record
def _entries(record: RunRecord) -> Mapping[str, Mapping[str, Any]]:
    """Return the recipe's models by name; of two with one name, the first."""
    lists = [(record.recipe or {}).get(role) for role in ("teacher", "student")]
    entries = [entry for listed in lists if isinstance(listed, list) for entry in listed if isinstance(entry, Mapping)]
    return {name: entry for entry in reversed(entries) if isinstance(name := entry.get("name"), str)}


def dataset(record: RunRecord) -> str | None:
    """Return the name of the data set in a run's recipe; None without a recipe."""
    name = subtable(record.recipe or {}, "data").get("name")
    return str(name) if name else None


def network(group: ModelGroup) -> str:
    """Return a group's architecture with its options, as text."""
    card = group.cards[0]
    if card.architecture is None:
        return group.label
    facts = [f"{key} {_plain(value)}" for key, value in card.options.items()]
    if card.pruned is not None:
        time = card.pruned.latency
        fast = "" if time is None else f" and {100 * time.share:.0f} % of the time"
        facts.append(f"pruned to {100 * card.pruned.macs_share:.0f} % of the MACs{fast} of {card.pruned.of}")
    return f"{card.architecture} ({', '.join(facts)})" if facts else card.architecture


def hidden_sizes(group: ModelGroup) -> str | None:
    """Return the sizes of the hidden layers of a dense network such as 784-300-10; None for any other."""
    architecture = group.cards[0].architecture or ""
    return "-".join(architecture.split("-")[1:-1]) or "0" if _DENSE.fullmatch(architecture) else None


def is_distilled(group: ModelGroup) -> bool:
    """Return whether a student was trained with a teacher rather than with labels only."""
    return bool(group.cards[0].teachers)


@once_per_record
def families(record: RunRecord) -> list[Family]:
    """Return the sweeps of two points or more, in the record's order."""
    members: dict[str, list[ModelGroup]] = {}
    for group in model_groups(record):
        card = group.cards[0]
        if card.family is not None and card.axes:
            members.setdefault(card.family, []).append(group)
    return [Family(name, tuple(groups)) for name, groups in members.items() if len(groups) > 1]


def subtable(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the table `key` of a recipe's table; an empty one if it has none."""
    table = content.get(key)
    return table if isinstance(table, Mapping) else {}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(_plain(item) for item in value.values())
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
