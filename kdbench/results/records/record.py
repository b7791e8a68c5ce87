"""The record of a run, as it stands in `record.json`.

Frozen pydantic models: they validate what is read from a file, and their JSON Schema is shipped as
`kdbench/schemas/record.schema.json`. They hold numbers only; `units` and `report` turn them into text.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.files.cycles import cycle_collection_paused
from kdbench.files.plain_json import is_suspicious
from kdbench.results.cards import ModelCard
from kdbench.results.records.index import ResultIndex
from kdbench.results.records.json_lines import content_hash, read_lines, read_list, write_lines
from kdbench.results.records.measurement import Layer, Measurement, Pair
from kdbench.results.run_folder import RunFolder
from kdbench.results.values import AnyTable, Id, StoredValue
from kdbench.user_input.arguments import checked
from kdbench.user_input.validation import Value, added_later

# A reader accepts its own version only; a change that old readers would misread raises the number.
#   1  first version
SCHEMA_VERSION: Literal[1] = 1
_LARGE = 1 << 22  # bytes of a file that is read line by line


class Environment(Value):
    """The machine and the software that a record was measured with."""

    host: dict[str, str | int | float | None]
    libraries: dict[str, str]
    git_commit: str | None = None
    git_dirty: bool | None = None


class Diagnostic(Value):
    """A problem that affects how far numbers can be trusted, and its remedy."""

    code: str
    message: str
    remedy: str = ""
    model: str | None = None


class DeviceRun(Value):
    """A device's measurements of a run's models: where, how, and what makes them unreliable.

    Its numbers have the axis `device`, whose value is `name`. `target` is the one for which its bundle was made;
    `bundle` and `result` are the SHA-256 of the bundle's manifest and of the result, which holds the raw samples. A
    measurement that was interrupted is not `complete`.
    """

    name: Id
    target: str
    created: str
    bundle: str
    result: str
    complete: bool
    environment: Environment
    protocol: AnyTable = Field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()


_Kind = TypeVar("_Kind", Measurement, Pair)


def _require_one_value(results: Iterable[_Kind], name_of: Callable[[_Kind], str]) -> None:
    """Raise ValueError if one metric has two values at the same axes of one model; a repeated value does no harm."""
    numbers: dict[frozenset[tuple[str, str | int]], int] = {}
    number_of: dict[int, int] = {}  # by the identity of the axes, which most results share
    first: dict[Hashable, _Kind] = {}
    for result in results:
        number = number_of.get(id(result.axes))
        if number is None:
            number = numbers.setdefault(frozenset(result.axes.items()), len(numbers))
            number_of[id(result.axes)] = number
        name = name_of(result)
        other = first.setdefault((name, result.metric, number), result)
        if other is not result and other != result:
            at = "".join(f", {axis} {value}" for axis, value in result.axes.items())
            raise ValueError(
                f"{name} has two different values of {result.metric}{at}: {other.value} and {result.value}"
            )


class RunRecord(StoredValue):
    """All results of one run; the raw samples are in `samples.npz` in the same folder.

    `recipe` is the resolved recipe with its defaults, `protocol` the settings of the measurement, `command` the command
    that re-creates the record. `layers` are in execution order, if a profile was requested. `devices` are those whose
    results were merged (`results.devices`).

        >>> record = kdbench.RunRecord.read("runs/digits")
        >>> [(id_, card.classes) for id_, card in record.cards.items()]
        [('teacher', 10), ('student', 10)]
        >>> {measurement.metric for measurement in record.measurements} >= {"top1", "macs", "size_bytes"}
        True
    """

    file_kind = "record"
    hint = "if it was edited by hand, undo the change; otherwise measure again"

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, alias="schema")
    kind: Literal["run", "bench"]
    name: str
    title: str = ""
    created: str
    command: str
    recipe: AnyTable | None = None
    recipe_hash: str | None = None
    protocol: AnyTable = Field(default_factory=dict)
    environment: Environment
    models: tuple[ModelCard, ...]
    measurements: tuple[Measurement, ...]
    pairs: tuple[Pair, ...] = ()
    layers: tuple[Layer, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    devices: tuple[DeviceRun, ...] = added_later(())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ids = [card.id for card in self.models]
        if len(set(ids)) != len(ids):
            raise ValueError("two models share an id")
        named = {m.model for m in self.measurements} | {layer.model for layer in self.layers}
        named |= {x for p in self.pairs for x in (p.teacher, p.student)}
        if unknown := named - set(ids):
            raise ValueError(f"measured models without a card: {', '.join(sorted(unknown))}")
        devices = [device.name for device in self.devices]
        if len(set(devices)) != len(devices):
            raise ValueError("two devices share a name")
        measured_on = {str(one.axes["device"]) for one in (*self.measurements, *self.pairs) if "device" in one.axes}
        if unknown := measured_on - set(devices):
            raise ValueError(f"measured on devices that the record does not describe: {', '.join(sorted(unknown))}")
        _require_one_value(self.measurements, lambda measurement: measurement.model)
        _require_one_value(self.pairs, lambda pair: f"{pair.student} to {pair.teacher}")
        return self

    def __repr__(self) -> str:
        counts = f"{len(self.measurements)} measurements, {len(self.pairs)} pairs"
        return f"<kdbench.RunRecord {self.name!r} of {', '.join(self.cards)}: {counts}>"

    __str__ = __repr__  # a cell shows it; `to_json` has every field

    @cached_property
    def cards(self) -> dict[str, ModelCard]:
        """The models by id."""
        return {card.id: card for card in self.models}

    @cached_property
    def measurement_index(self) -> ResultIndex[Measurement]:
        """The measurements by model, metric and axes."""
        return ResultIndex(self.measurements, lambda measurement: measurement.model)

    @cached_property
    def pair_index(self) -> ResultIndex[Pair]:
        """The pairs by student, metric and axes; of a model with several, first those with its parents."""
        parents = {card.id: card.parents for card in self.models}
        ordered = sorted(self.pairs, key=lambda pair: pair.teacher not in parents[pair.student])
        return ResultIndex(ordered, lambda pair: pair.student)

    @cached_property
    def derived(self) -> dict[Hashable, Any]:
        """What `once_per_record` computed from this record."""
        return {}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with changed fields, as pydantic does, without what was computed from the former ones."""
        copied = super().model_copy(update=update, deep=deep)
        for computed in ("cards", "measurement_index", "pair_index", "derived"):
            copied.__dict__.pop(computed, None)
        return copied

    def find(self, model: str, metric: str, **axes: str | int) -> Measurement | None:
        """Return the measurement of `metric` of `model` at `axes` with the fewest further axes, or None.

        >>> kdbench.RunRecord.read("runs/digits").find("student", "macs").value
        640.0
        """
        return self.measurement_index.nearest(model, metric, axes)

    def find_pair(self, student: str, metric: str, **axes: str | int) -> Pair | None:
        """Return the pair `metric` of `student` at `axes` with the fewest further axes, or None.

        >>> kdbench.RunRecord.read("runs/digits").find_pair("student", "macs_ratio").value
        37.0
        """
        return self.pair_index.nearest(student, metric, axes)

    def hash(self) -> str:
        """Return the content hash, by which a verdict identifies its record.

        >>> len(kdbench.RunRecord.read("runs/digits").hash())
        64
        """
        if "hash" not in self.derived:
            self.derived["hash"] = content_hash(self)
        value: str = self.derived["hash"]
        return value

    @checked
    def write(self, path: str | Path) -> None:
        """Write the record as JSON to `path` atomically, one model or result a line; raises StorageError.

        >>> kdbench.RunRecord.read("runs/digits").write("runs/copy.json")
        """
        write_lines(self, Path(path))

    @classmethod
    @checked
    @cycle_collection_paused()
    def read(cls, path: str | Path) -> Self:
        """Read the record of a run: `path` is its folder, its record or one of its reports, as for `RunFolder.of`.

            >>> kdbench.RunRecord.read("runs/digits/record.json").name
            'bench'

        Raises InputError if there is no record or it is not valid.
        """
        path = RunFolder.of(path).record
        if (record := cls._valid(path)) is not None:
            return record
        content = storage.read_json(path, cls.file_kind)
        version = content.get("schema") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{path} has record schema {version!r}; this kdbench reads {SCHEMA_VERSION}",
                "re-create it with this version, or read it with the one that wrote it",
            )
        return cls.from_json(content, path)

    @classmethod
    def _valid(cls, path: Path) -> Self | None:
        """Return a valid record, parsed and checked in one pass; None where `read` has to say what is wrong."""
        try:
            storage.require_text(path)
            if path.stat().st_size > _LARGE and (record := read_lines(cls, path)) is not None:
                return record if "schema_version" in record.model_fields_set else None
            text = path.read_bytes()
            if is_suspicious(text):
                return None
            record = cls.model_validate_json(text)
        except (OSError, ValueError):
            return None
        return record if "schema_version" in record.model_fields_set else None


def read_model_ids(path: Path) -> set[str]:
    """Return the ids of the models in a record, without reading its results; raises InputError as `RunRecord.read`."""
    try:
        if (cards := read_list(RunRecord, "models", path)) is not None:
            return {card.id for card in cards}
    except (OSError, ValueError):
        pass  # `read` reports what is wrong
    return {card.id for card in RunRecord.read(path).models}


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of `record.json`, described without the examples in Python."""
    schema = RunRecord.model_json_schema(by_alias=True)
    for described in (schema, *schema["$defs"].values()):
        if "description" in described:
            described["description"] = re.split(r"\n\n *>>> ", described["description"], maxsplit=1)[0]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
