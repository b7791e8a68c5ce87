"""The `[sweep]` table: values for keys of a recipe, and which keys a sweep may change."""

import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from kdbench.characters import one_line
from kdbench.errors import InputError
from kdbench.recipe.sweeps.expanding import is_index, require_epochs_or_shares
from kdbench.recipe.sweeps.goal import EXAMPLE
from kdbench.recipe.sweeps.search import Choices, Range, Search, probes, range_of, shown
from kdbench.recipe.tables.data import Data, Examples
from kdbench.recipe.tables.models import Student
from kdbench.registry import suggestion
from kdbench.user_input import toml_files
from kdbench.user_input.validation import Value, WrongValueError, problem

MAX_POINTS = 20_000
_EXAMPLE = "--axis terms.0.temperature=1,4,10"
_RANGE_EXAMPLE = "--axis terms.0.temperature=1..10"
_TABLES = ("training", "data", "teacher", "student", "variant")  # what axes may be keys of
_LEARNING = ("terms", "ce_weight", "cache")  # of a student that learns from a teacher
_OF_ENTRIES = ("name", "family", "axes", "sweep")
_SHARED = (
    "all points share the [measure] table and the test data, so that they can be compared: "
    "sweep in separate folders, with --set and --out"
)
_ELSEWHERE = {
    "seeds": "give their number with --seeds",
    "measure": "a list there measures every model at all its values: --set measure.threads=[1,2]",
    "sweep": "name a key of the models",
}


class Sweep(Value):
    """Values for keys of a recipe; each combination is a point, for which all models that the keys change are trained.

    A key of `axes` is one that `--set` takes, such as `training.epochs` or `student.kd.terms.0.temperature`, or a key
    of students, such as `model.widths`. A key of students is set in those that have it in the recipe, or in all if none
    has it; `terms`, `ce_weight` and `cache` are set in those that learn from a teacher. Keys separated by commas change
    together. `points` are tables of keys, instead of the combinations of `axes`. `seeds` is the number of seeds: those
    of the recipe, and then the next numbers. With `search` an optimiser chooses the points, and an axis may be a range
    of numbers; `points` are then those that it has chosen.

        [sweep]
        axes = { "terms.0.temperature" = [1, 4, 10], "training.epochs" = [20, 40] }
        seeds = 5
    """

    axes: dict[str, Choices] = Field(default_factory=dict)
    points: tuple[dict[str, Any], ...] = ()
    seeds: int | None = Field(default=None, ge=1, le=1000)
    search: Search | None = None

    @field_validator("axes", mode="before")
    @classmethod
    def _ranges(cls, axes: Any) -> Any:
        if not isinstance(axes, Mapping):
            return axes
        return {key: _range(key, value) if isinstance(value, Mapping) else value for key, value in axes.items()}

    @field_validator("axes")
    @classmethod
    def _values(cls, axes: dict[str, Choices]) -> dict[str, Choices]:
        for key, values in axes.items():
            if isinstance(values, Range):
                continue
            if not values:
                raise ValueError(f"{key!r} has no values: give a list, such as [1, 4]")
            written = [_canonical(value) for value in values]
            if repeated := next((text for text in written if written.count(text) > 1), None):
                raise ValueError(f"{key!r} has the value {repeated} twice")
            require_epochs_or_shares(key, values)
        return axes

    @field_validator("points")
    @classmethod
    def _limit_points(cls, points: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if len(points) > MAX_POINTS:
            raise ValueError(f"{len(points):,} points, but a sweep may have at most {MAX_POINTS:,}")
        return points

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.search is not None:
            if not self.axes:
                raise WrongValueError(
                    "a search needs axes", "name the keys that it may change, such as " + _RANGE_EXAMPLE
                )
            return self
        if self.axes and self.points:
            hint = "remove one of them: points are selected combinations, instead of all those of axes"
            raise WrongValueError("a sweep has axes or points, not both", hint)
        ranges = [key for key, values in self.axes.items() if isinstance(values, Range)]
        if ranges:
            hint = f"add --search optuna --goal GOAL, or list its values: {ranges[0]}=V1,V2"
            raise WrongValueError(f"axis {ranges[0]!r} is a range, which only a search can use", hint)
        count = math.prod(len(values) for values in self.axes.values() if not isinstance(values, Range))
        if count > MAX_POINTS:
            raise ValueError(f"{count:,} points, but a sweep may have at most {MAX_POINTS:,}")
        return self

    @property
    def origin(self) -> dict[str, Any] | None:
        """The point of a search from which each axis shows what it changes; None without a search."""
        return next(probes(self.axes)) if self.search is not None else None

    @property
    def combinations(self) -> Iterator[dict[str, Any]]:
        """The values of each point by key, the last axis changing first."""
        if self.points or self.search is not None:
            yield from self.points or probes(self.axes)
            return
        for values in product(*map(shown, self.axes.values())):
            yield dict(zip(self.axes, values, strict=True))

    @property
    def values(self) -> dict[str, list[Any]]:
        """The different values of each key, in the order in which they come."""
        if not self.points or self.search is not None:
            return {key: list(shown(values)) for key, values in self.axes.items()}
        values_by_key: dict[str, dict[str, Any]] = {}
        for point in self.points:
            for key, value in point.items():
                values_by_key.setdefault(key, {}).setdefault(_canonical(value), value)
        return {key: list(values.values()) for key, values in values_by_key.items()}


def _range(key: str, table: Mapping[str, Any]) -> Range:
    try:
        return Range.model_validate(table)
    except ValidationError as error:
        reason = problem(error, Range)
        raise WrongValueError(f"{key!r}: {reason.message}", reason.hint or f"for example {_RANGE_EXAMPLE}") from error


def _canonical(value: Any) -> str:
    """Return a value as text, the same for equal values: 1 equals 1.0, but not true."""
    return json.dumps(value, sort_keys=True, default=str).removesuffix(".0")


def seeds(known: Any, count: int | None) -> Any:
    """Return `count` seeds: the first of `known` ones, and then the lowest other numbers; `known` without a count."""
    if count is None or not isinstance(known, list | tuple):
        return known
    others = (seed for seed in range(count + len(known)) if seed not in known)
    return [*known[:count], *(next(others) for _ in range(count - len(known)))]


def read_sweep(table: Any) -> Sweep:
    """Return a recipe's table `[sweep]`; raises InputError for one that is not valid."""
    try:
        return Sweep.model_validate(table)
    except ValidationError as error:
        lacks_goal = any(complaint["loc"] == ("search", "goal") for complaint in error.errors())
        goal = f"give the search a --goal, or [sweep.search] a goal, for example {EXAMPLE!r}"
        hint = goal if lacks_goal else 'for example axes = { "training.epochs" = [2, 5] }'
        raise problem(error, Sweep).as_error("sweep", hint) from error


def axis(text: str) -> tuple[str, list[Any] | Range]:
    """Read an axis as it is typed, `KEY=V1,V2` or `KEY=LOW..HIGH`; values are TOML, or else plain text.

    Raises InputError.
    """
    key, sign, values = (part.strip() for part in text.partition("="))
    shown = f"--axis {one_line(text)[:80]!r}"
    if not sign or not key or not values:
        raise InputError(f"{shown} is not of the form KEY=V1,V2", f"for example {_EXAMPLE}")
    if (range_ := range_of(values)) is not None:
        return key, range_
    try:
        parsed = tomllib.loads(f"values = [{values}]")["values"]
    except (tomllib.TOMLDecodeError, RecursionError):
        if set(values) & set("[]{}\"'"):
            hint = f"separate values by commas; a list or a table is written as in TOML: {_EXAMPLE}"
            raise InputError(f"{shown}: the values are not TOML", hint) from None
        parsed = [toml_files.assignment(f"value={part.strip()}", shown, _EXAMPLE)[1] for part in values.split(",")]
        if "" in parsed:
            raise InputError(f"{shown}: a value is empty", f"for example {_EXAMPLE}") from None
    except ValueError:
        raise InputError(f"{shown}: a number is too long", "shorten it") from None
    toml_files.require_usable({key: parsed}, shown)
    return key, parsed


def axes_of(texts: Sequence[str]) -> dict[str, list[Any] | Range]:
    """Return the axes of several options `--axis`; raises InputError for a key that is given twice."""
    axes: dict[str, list[Any] | Range] = {}
    for key, values in map(axis, texts):
        if key in axes:
            raise InputError(f"--axis {key} is given twice", f"give all its values at once: {key}=V1,V2,V3")
        axes[key] = values
    return axes


def paths_of(key: str, content: Mapping[str, Any]) -> list[list[str]]:
    """Return the paths in a recipe's content that an axis's `key` stands for.

    Raises InputError for a key that no point may change, or that no model has.
    """
    parts = [part.strip() for part in key.split(".")]
    head, subject = parts[0], f"axis {key!r}"
    if not all(parts):
        raise InputError(f"{subject} is not a key", f"for example {_EXAMPLE}")
    if head in _TABLES:
        _require_key_in_table(parts, subject)
        return [parts]
    if head in _ELSEWHERE or head in {"analysis", "name", "title", "folder", "plugins", "track", "reported"}:
        raise InputError(f"{subject} is the same for all points", _ELSEWHERE.get(head, _SHARED))
    if head not in Student.model_fields or head in _OF_ENTRIES:
        known = [*_TABLES, *(name for name in Student.model_fields if name not in _OF_ENTRIES)]
        raise InputError(f"{subject}: no model has the key {head!r}", suggestion(head, known, f"{', '.join(known)}"))
    return [["student", str(place), *parts] for place in _students_with(parts, content, subject)]


def _require_key_in_table(parts: Sequence[str], subject: str) -> None:
    """Raise InputError unless points may differ in the key `parts`, which begins with the name of a table."""
    head, *keys = parts
    if len(keys) < (1 if head in {"training", "data"} else 2):
        key = ".".join(parts)
        raise InputError(f"{subject} is a whole table", f"name a key of it; for all students: student.*.{key}")
    if head == "data" and keys[0] not in Examples.model_fields and keys[0] in Data.model_fields:
        raise InputError(f"{subject} would give points different data sets or splits", _SHARED)
    if keys[-1] in _OF_ENTRIES and len(keys) == 2:
        raise InputError(f"{subject} is a name, and kdbench names the models of each point itself", "name another key")


def _students_with(parts: Sequence[str], content: Mapping[str, Any], subject: str) -> list[int]:
    """Return the places of the students that have the key `parts`, or of those that may have it if none has."""
    head = parts[0]
    students = content.get("student", [])
    entries = [students] if isinstance(students, dict) else students
    tables = {place: entry for place, entry in enumerate(entries) if isinstance(entry, dict)}
    admitted = [place for place, entry in tables.items() if head not in _LEARNING or _term(entry, parts) is not None]
    chosen = [place for place in admitted if _has(tables[place], parts)] or admitted
    if not chosen:
        which = "student" if head not in _LEARNING or not tables else "student that learns from a teacher"
        which = f"student with a term {parts[1]}" if head == "terms" and len(parts) > 1 and tables else which
        raise InputError(f"{subject}: the recipe has no {which}", "name a key of its models, such as training.epochs")
    return chosen


def _term(entry: Mapping[str, Any], parts: Sequence[str]) -> Any:
    """Return the term that a key is about, or the first one for another key; None if there is none."""
    terms = entry.get("terms") or []
    terms = [terms] if isinstance(terms, dict) else terms
    number = parts[1] if parts[0] == "terms" and len(parts) > 1 else "0"
    return terms[0 if number == "*" else int(number)] if terms and (number == "*" or is_index(number, terms)) else None


def _has(node: Any, parts: Sequence[str]) -> bool:
    """Return whether a table has a value for a key; a single term stands for a list of one."""
    for place, part in enumerate(parts):
        if isinstance(node, dict) and place and parts[place - 1] == "terms":
            node = [node]
        if isinstance(node, list):
            if part == "*":
                return any(_has(item, parts[place + 1 :]) for item in node)
            node = node[int(part)] if is_index(part, node) else None
        else:
            node = node.get(part) if isinstance(node, dict) else None
    return node is not None
