"""Validation of values from a person or a file: the base class of checked values, and the wording of all problems.

Base layer: imports pydantic, the registry's suggestions and nothing else of kdbench.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdbench.characters import shortened
from kdbench.errors import InputError
from kdbench.registry import suggestion

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # pydantic exports it under no public name

_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument", "multiple_argument_values"}
_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument"}
_PLAIN = {  # what pydantic describes by Python's types
    "dict_type": "should be a table of keys",
    "mapping_type": "should be a table of keys",
    "model_type": "should be a table of keys",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "too_short": "has too few items: at least {min_length}",
    "too_long": "has too many items: at most {max_length}",
}
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"  # no dots: they separate the keys of an override
SMALL_NAME = r"^[a-z0-9][a-z0-9_-]*$"
_PATTERNS = {
    NAME: "should have letters, digits, - and _ only, and begin with a letter or a digit",
    SMALL_NAME: "should have small letters, digits, - and _ only, and begin with a letter or a digit",
}
_MAX_VALUE = 80  # characters; a longer value is cut in messages


class Value(BaseModel):
    """A frozen value that refuses unknown keys, and numbers that JSON cannot carry."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class _Named(ModelMetaclass):
    def __call__(self, *args: Any, **values: Any) -> Any:
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            hint = f"help(kdbench.{self.__name__}) explains its keys"
            raise problem(error, cast("type[BaseModel]", self)).as_error(self.__name__, hint) from None


class PublicValue(Value, metaclass=_Named):
    """A value that users create by name: a wrong argument is an InputError, with a hint.

    `model_validate`, and a value that holds this one, raise pydantic's error as for any other.
    """


_field_sets: dict[frozenset[str], set[str]] = {}


class SmallValue(Value):
    """A value of which there may be millions: what pydantic keeps beside each takes more memory than the numbers.

    Values share the sets of the names of their fields, which pydantic copies before it changes one. As with Python's
    own objects, the attributes of all values of a class share one table of names.
    """

    @model_validator(mode="after")
    def _share(self) -> Self:
        share_memory(self)
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with changed fields, as pydantic does."""
        copied = super().model_copy(update=update, deep=deep)
        share_memory(copied)
        return copied


def share_memory(value: SmallValue) -> None:
    """Let a value share with the others of its class what is the same for all."""
    fields, attributes = value.__pydantic_fields_set__, _attributes_of(type(value))()
    for name, content in value.__dict__.items():
        setattr(attributes, name, content)
    object.__setattr__(value, "__dict__", attributes.__dict__)
    object.__setattr__(value, "__pydantic_fields_set__", _field_sets.setdefault(frozenset(fields), fields))


@cache
def _attributes_of(kind: type[SmallValue]) -> type:
    """Return a class without slots, whose instances' dictionaries have their keys in common."""
    return type(kind.__name__, (), {})


V = TypeVar("V", bound=BaseModel)


def added_later(default: Any, **limits: Any) -> Any:
    """Return a field for a key added in a later version: omitted while it has its default, so that old hashes stay."""
    return Field(default=default, exclude_if=lambda value: value == default, **limits)


class WrongValueError(ValueError):
    """Raised by a validator for a wrong value; `hint` says what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


_LISTED: dict[tuple[int | str, ...], str] = {
    ("variant", "method"): "compressors",
    ("terms", "method"): "methods",
    ("teacher", "model"): "models",
    ("student", "model"): "models",
}
"""What `kdbench list` shows of the values of a recipe's key, by the table that has the key."""


@dataclass(frozen=True)
class Problem:
    """The first problem of a value; `hint` says what to write instead, if that is known.

    `missing` is whether the problem is a missing key.
    """

    message: str
    hint: str = ""
    missing: bool = False

    def as_error(self, subject: str, hint: str = "") -> InputError:
        """Return the error to raise about `subject`, such as a file's path; `hint` is for a problem that has none."""
        return InputError(f"{subject}: {self.message}", self.hint or hint)


def problem(
    error: ValidationError,
    known: type[BaseModel] | Sequence[str] = (),
    *,
    noun: str = "key",
    place: Callable[[str], str] = str,
) -> Problem:
    """Return the first problem of a validation error, with the key and, if it is unknown, the nearest known one.

    `known` are the valid keys, or the type that has them; `noun` is the word for a key ("option"). `place` returns the
    text for a dotted key. Only this function turns pydantic's errors into text:

        raise problem(error, Target).as_error(str(path), "see docs/readiness.md") from error
    """
    details = error.errors()
    # A misspelt required key is reported as missing and as unknown; the latter is the better message.
    first = next((detail for detail in details if detail["type"] in _UNKNOWN), details[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] in _UNKNOWN:
        keys = list(known) if not isinstance(known, type) else _keys_at(known, first["loc"][:-1])
        listed = f"known here: {', '.join(keys)}" if keys else ""
        return Problem(f"unknown {noun} {key!r}", suggestion(str(first["loc"][-1]), keys, listed))
    if first["type"] in _MISSING:
        kind = _LISTED.get((*first["loc"][-3:-2], first["loc"][-1]))
        return Problem(
            f"the {noun} {key!r} is missing", f"`kdbench list {kind}` lists its values" if kind else "", True
        )
    raised = first.get("ctx", {}).get("error")
    message = first["msg"].removeprefix("Value error, ")
    if raised is None:
        value = shortened(repr(first["input"]), _MAX_VALUE)
        context = first.get("ctx", {})
        if first["type"] in _PLAIN:
            message = "Input " + _PLAIN[first["type"]].format_map(context)
        elif context.get("pattern") in _PATTERNS:
            message = "Input " + _PATTERNS[context["pattern"]]
        expected = message.removeprefix("Input ")
        message = f"{value} {expected}" if expected != message else f"{message} (given: {value})"
    return Problem(f"{place(key)}: {message}" if key else message, getattr(raised, "hint", ""))


def validated(kind: type[V], values: Mapping[str, Any], hint: str = "") -> V:
    """Return `values` as a `kind`; raises InputError, with `hint` for a problem that has none."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        wrong = problem(error, kind)
        raise InputError(wrong.message, wrong.hint or hint) from None


def _keys_at(value: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Return the keys that are valid at a location such as ("student", 0, "training"), as users write them."""
    section: Any = value
    parts = iter(location)
    for part in parts:
        field = next(f for name, f in section.model_fields.items() if part in {name, f.alias})
        types = get_args(field.annotation)
        section = next((a for a in types if isinstance(a, type) and issubclass(a, BaseModel)), field.annotation)
        if get_origin(field.annotation) in {tuple, list, dict}:
            next(parts)  # the number of an item, or its key
    return [field.alias or name for name, field in section.model_fields.items()]
