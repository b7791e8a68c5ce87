"""Expansion of a recipe with a `[sweep]` table: its models at every point; a model that no axis changes occurs once.

A model depends on an axis if one of its own keys changes along the axis. It also depends on the axes of the model that
it learns from, starts from or is a variant of. Its name has the axes that it depends on, as with an entry's own
`sweep`. All points share a teacher that no axis changes. They also share a student that learns only from labels; it is
compared with its teacher at the first point.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdbench.errors import InputError
from kdbench.recipe.sweeps.assigning import assign
from kdbench.recipe.sweeps.expanding import ROLES, axis_labels, expanded, keys_of, labels_of_entries, named, plain
from kdbench.recipe.sweeps.sweep import paths_of, read_sweep, seeds
from kdbench.recipe.tables.named import require_unique
from kdbench.user_input.validation import WrongValueError

_PROBES = 3  # values of an axis that show which models it changes
_NO_SETTINGS = {"name", "family", "axes", "teacher", "of"}

Values = Mapping[str, Any]
"""The value of each axis at a point, by its key."""


@dataclass(frozen=True)
class Point:
    """A point of a sweep: its values, and the names of its models; `entries` are what the recipe calls these."""

    values: Values
    models: tuple[str, ...]
    entries: tuple[str, ...] = ()

    @property
    def by_entry(self) -> dict[str, str]:
        """The models by what the recipe calls them."""
        return dict(zip(self.entries, self.models, strict=True))


def with_points(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's content expanded, at every point of its sweep if it has one.

    Raises ValueError for a sweep that cannot be expanded.
    """
    if "sweep" not in content:
        return expanded(content)
    try:
        return swept(content)[0]
    except InputError as error:
        raise WrongValueError(error.message, error.hint) from error


def swept(content: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Point, ...]]:
    """Return the expanded content of a recipe with a `[sweep]` table, and the points.

    Raises InputError for a sweep that is not possible, and ValueError as `expanded` does.
    """
    base = {key: value for key, value in content.items() if key != "sweep"}
    table = read_sweep(content["sweep"])
    base["seeds"] = seeds(base.get("seeds", [0]), table.seeds)
    values = table.values
    if not values:
        names = tuple(entry.name for entry in _entries(base))
        return expanded(base), (Point({}, names, names),)
    axes = _axes(values, base)
    # A search adds points one by one: what depends on which axis shows at a point that stays the same.
    origin = [table.origin] if table.origin is not None else []
    points = [(values_at, _models(base, axes, values_at)) for values_at in (*origin, *table.combinations)]
    depends = _dependences(base, axes, values, points)
    points = points[len(origin) :]
    for key in values:
        if len(values[key]) > 1 and depends and not any(key in keys for keys in depends.values()):
            hint = f"every student overrides it: student.*.{key} sets it in all students"
            raise InputError(f"axis {key!r} changes no model", hint if key.startswith(("training.", "data.")) else "")
    merged = _merged(points, depends, axes)
    kept = {entry["name"] for entries in merged.values() for entry in entries}
    result = {**expanded({**base, **{role: [] for role in ROLES if role in base}}), **merged}
    if isinstance(reported := base.get("reported"), list | tuple):  # of models without an axis
        result["reported"] = [number for number in reported if _names(number) <= kept]
    return result, tuple(
        Point(combination, tuple(entry.named(depends, axes, combination) for entry in entries.values()), (*entries,))
        for combination, entries in points
    )


@dataclass(frozen=True)
class _Axis:
    """An axis: the paths of each of its keys, and the labels of the keys that a name may mention; the first counts."""

    key: str
    paths: Sequence[Sequence[list[str]]]
    labels: Sequence[str]

    def assign(self, content: dict[str, Any], value: Any) -> None:
        """Assign a value, or with several keys a list of values, to the axis's keys."""
        together = [value] if len(self.paths) == 1 else value
        if not isinstance(together, list | tuple) or len(together) != len(self.paths):
            message = f"axis {self.key!r}: {value!r} is not a list of {len(self.paths)} values"
            raise InputError(message, "give one value per key")
        for paths, part in zip(self.paths, together, strict=True):
            for path in paths:
                assign(content, path, _copied(part), f"axis {self.key!r}")

    def named(self, value: Any, template: str) -> dict[str, Any]:
        """Return the values, by label, that a model's name mentions."""
        together = [value] if len(self.paths) == 1 else value
        pairs = zip(self.labels, together, strict=True)
        shown = {label: plain(part) for label, part in pairs if label == self.labels[0] or f"{{{label}}}" in template}
        return {label: str(value) if value is None else value for label, value in shown.items()}


def _axes(keys: Iterable[str], content: Mapping[str, Any]) -> dict[str, _Axis]:
    separate = {key: keys_of(key) for key in keys}
    everything = [part for parts in separate.values() for part in parts]
    labels = axis_labels(everything, labels_of_entries(content))
    return {
        key: _Axis(key, [paths_of(part, content) for part in parts], [labels[part] for part in parts])
        for key, parts in separate.items()
    }


def _copied(value: Any) -> Any:
    """Return a copy in which no table stands in two places, as it may in a recipe that a program makes."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


def _models(base: Mapping[str, Any], axes: Mapping[str, _Axis], values: Values) -> "dict[str, _Entry]":
    """Return the models of a recipe's content at one point, by name."""
    content = {key: _copied(value) for key, value in base.items() if key in {*ROLES, "training", "data"}}
    for key, value in values.items():
        axes[key].assign(content, value)
    return {entry.name: entry for entry in _entries(content)}


@dataclass(frozen=True)
class _Entry:
    """A model at a point: its role, its table, and a text that is equal for equal models, what they need included."""

    role: str
    name: str
    table: dict[str, Any]
    text: str = field(repr=False)

    def named(self, depends: Mapping[str, Sequence[str]], axes: Mapping[str, _Axis], values: Values) -> str:
        """Return the model's name in the sweep."""
        shown = self.axes(depends, axes, values)
        return named(self.name, shown) if shown else self.name

    def axes(self, depends: Mapping[str, Sequence[str]], axes: Mapping[str, _Axis], values: Values) -> dict[str, Any]:
        """Return the values of the axes that the model depends on, by label."""
        shown: dict[str, Any] = {}
        for key in depends.get(self.name, ()):
            if key in values:
                shown |= axes[key].named(values[key], self.name)
        return shown


def _entries(content: Mapping[str, Any]) -> list[_Entry]:
    """Return the models of a recipe's content, expanded; validation reports other items and unknown names.

    Raises ValueError for a name that is used twice.
    """
    full = expanded(content)
    tables = {role: [e for e in _listed(full.get(role)) if isinstance(e.get("name"), str)] for role in ROLES}
    by_name = {entry["name"]: (role, entry) for role in ROLES for entry in tables[role]}
    require_unique(entry["name"] for role in ROLES for entry in tables[role])
    first = next((entry["name"] for entry in tables["teacher"]), None)
    texts: dict[str, str] = {}

    def text(name: str) -> str:
        if name not in by_name:
            return name
        if name not in texts:
            texts[name] = "itself"  # while it is computed: a model that needs itself
            role, entry = by_name[name]
            settings = {key: value for key, value in entry.items() if key not in _NO_SETTINGS}
            needed = [text(other) for other in _needed(role, entry, first)]
            texts[name] = json.dumps([settings, needed], sort_keys=True, default=str)
        return texts[name]

    return [_Entry(role, name, entry, text(name)) for name, (role, entry) in by_name.items()]


def _listed(value: Any) -> list[dict[str, Any]]:
    entries = [value] if isinstance(value, dict) else value
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list | tuple) else []


def _needed(role: str, entry: Mapping[str, Any], first: str | None) -> Iterator[str]:
    """Yield the names of the models that an entry's weights depend on."""
    if role == "variant":
        yield str(entry.get("of"))
    if role != "student":
        return
    sources = [
        str(table[part]) if table.get(part) is not None else None
        for key, part in (("start", "model"), ("prune", "of"))
        if isinstance(table := entry.get(key), dict)
    ]
    yield from filter(None, sources)
    if entry.get("terms") or None in sources:  # without, it is only compared with its teacher
        teachers = entry.get("teacher") or first
        yield from [str(name) for name in (teachers if isinstance(teachers, list | tuple) else [teachers])]


def _dependences(
    base: Mapping[str, Any],
    axes: Mapping[str, _Axis],
    values: Mapping[str, Sequence[Any]],
    points: Sequence[tuple[Values, dict[str, _Entry]]],
) -> dict[str, list[str]]:
    """Return the axes that each model depends on, in their order."""
    origin, first = points[0]
    keys: dict[str, set[str]] = {name: set() for _, entries in points for name in entries}
    for key in values:
        others = [value for value in values[key] if key not in origin or value != origin[key]][:_PROBES]
        probes = [_models(base, axes, {**origin, key: value}) for value in others]
        for probe in probes:
            for name in probe.keys() | first.keys():
                if name not in probe or name not in first or probe[name].text != first[name].text:
                    keys.setdefault(name, set()).add(key)
    ordered = {name: [key for key in values if key in used] for name, used in keys.items()}
    # One that differs where these axes agree depends on all of them: it is another's only at some values.
    seen: dict[tuple[str, str], str] = {}
    for combination, entries in points:
        for name, entry in entries.items():
            at = json.dumps([[key, combination.get(key)] for key in ordered[name]], default=str)
            if seen.setdefault((name, at), entry.text) != entry.text:
                ordered[name] = list(values)
    return ordered


def _merged(
    points: Sequence[tuple[Values, dict[str, _Entry]]], depends: Mapping[str, Sequence[str]], axes: Mapping[str, _Axis]
) -> dict[str, list[dict[str, Any]]]:
    """Return the tables of all models by role: entry by entry in the recipe's order, each at its points in order.

    Raises InputError where the values of two points give different models one name.
    """
    by_name: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {name: {} for _, entries in points for name in entries}
    texts: dict[str, tuple[str, Values]] = {}
    for combination, entries in points:
        names = {name: entry.named(depends, axes, combination) for name, entry in entries.items()}
        first = next((name for name, entry in entries.items() if entry.role == "teacher"), None)
        for name, entry in entries.items():
            text, other = texts.setdefault(names[name], (entry.text, combination))
            if text != entry.text:
                message = f"the points {dict(other)} and {dict(combination)} both have a model {names[name]!r}"
                raise InputError(message, "names keep letters, digits and hyphens: choose values that differ in those")
            if names[name] not in by_name[name]:
                shown = entry.axes(depends, axes, combination)
                by_name[name][names[name]] = entry.role, _renamed(entry, names, shown, first)
    result: dict[str, list[dict[str, Any]]] = {}
    for of_name in by_name.values():
        for role, table in of_name.values():
            result.setdefault(role, []).append(table)
    return result


def _renamed(entry: _Entry, names: Mapping[str, str], axes: Mapping[str, Any], first: str | None) -> dict[str, Any]:
    """Return a model's table with its name in the sweep, and those of the models that it needs."""
    table = dict(entry.table)
    if axes:
        family = table.get("family") or entry.name
        table |= {"name": names[entry.name], "family": family, "axes": {**table.get("axes", {}), **axes}}
    if entry.role == "variant":
        return {**table, "of": names.get(str(table.get("of")), table.get("of"))}
    if entry.role == "student":
        teachers = table.get("teacher") or (None if first is None or names[first] == first else first)
        if teachers is not None:
            listed = teachers if isinstance(teachers, list | tuple) else [teachers]
            table["teacher"] = [names.get(str(name), name) for name in listed]
        for key, part in (("start", "model"), ("prune", "of")):
            if isinstance(inner := table.get(key), dict) and inner.get(part) is not None:
                table[key] = {**inner, part: names.get(str(inner[part]), inner[part])}
    return table


def _names(number: Any) -> set[str]:
    known = number if isinstance(number, dict) else {}
    return {str(known[key]) for key in ("model", "minus") if known.get(key) is not None}
