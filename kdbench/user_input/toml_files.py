"""TOML files that a person writes, such as recipes and targets: finding, parsing and validating them."""

import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, time
from importlib.resources.abc import Traversable
from numbers import Number
from types import NoneType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kdbench.characters import one_line, shortened
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.files.nearby import expected_at
from kdbench.registry import suggestion
from kdbench.user_input.validation import problem

V = TypeVar("V", bound=BaseModel)

_MAX_LENGTH = 1_000_000  # characters of a file
_DEEPEST = 40  # levels of tables and lists
_DEPTH_HINT = "flatten its tables and lists"
_SHOWN = 40  # characters of a wrong value
_SHOWN_SUBJECT = 200
_USABLE = (str, bytes, Number, Mapping, list, tuple, set, frozenset, NoneType)


def shipped(folder: Traversable) -> dict[str, str]:
    """Return the texts of the TOML files in a folder of the package, by name without suffix."""
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {file.name.removesuffix(".toml"): file.read_text(encoding="utf-8") for file in sorted(files, key=str)}


def find(name_or_path: str, known: Mapping[str, str], kind: str) -> tuple[str, str]:
    """Return the TOML text of the shipped file of that name, or of the file at that path, and a name for messages.

    `known` are the shipped texts by name, `kind` is what the file is ("recipe"). Raises InputError for an unknown name
    and for a file that cannot be read.
    """
    if name_or_path in known:
        return known[name_or_path], f"{kind} {name_or_path}"
    path = storage.with_home(name_or_path)
    if path.suffix == ".toml" or path.exists():
        try:
            return storage.read_text(path), str(path)
        except FileNotFoundError:
            hint = expected_at(path, f"shipped {kind}s: {', '.join(known)}", lambda other: other.suffix == ".toml")
            raise InputError(f"no {kind} at {path}", hint) from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as a {kind}: {error}", f"a {kind} is a TOML text file") from error
    otherwise = f"shipped: {', '.join(known)}; or give the path of a .toml file"
    raise InputError(f"unknown {kind} {name_or_path!r}", suggestion(name_or_path, known, otherwise))


def parse(text: str, where: str) -> dict[str, Any]:
    """Return the content of TOML text; raises InputError, which names the text `where`."""
    if len(text) > _MAX_LENGTH:
        raise InputError(
            f"{where} has {len(text):,} characters, more than {_MAX_LENGTH:,}", "use sweeps for many models"
        )
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{where} is nested too deeply", _DEPTH_HINT) from None
    except ValueError as error:  # also of a number with thousands of digits
        raise InputError(f"{where} is not valid TOML: {error}", "check the line it names") from error


def plain(value: Any, levels: int = _DEEPEST) -> Any:
    """Return a value from Python as a file has it: arrays as lists, numpy's numbers as Python's, paths as text.

    What is nested more than `levels` deep, or of another type, stays as it is; `require_usable` refuses it.
    """
    if levels and isinstance(value, Mapping):
        return {key: plain(inner, levels - 1) for key, inner in value.items()}
    if levels and isinstance(value, list | tuple | range):
        return [plain(inner, levels - 1) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if callable(getattr(type(value), "tolist", None)) else value


def require_usable(content: Any, where: str) -> None:
    """Raise InputError, which names the content `where`, unless all its values can be used and written again.

    They are text, numbers, lists and tables. Tables may be nested 40 levels deep, integers have 64 bits, other numbers
    are finite, text has no NUL.
    """
    level: list[tuple[str, Any]] = [("", content)]
    for _ in range(_DEEPEST):
        for key, value in level:
            if wrong := _wrong(value) or (_wrong(key) and "a key has a character that text cannot have"):
                at = f"{one_line(key)[:_SHOWN_SUBJECT]}: " if key and not _wrong(key) else ""
                raise InputError(f"{where}: {at}{wrong}", "see docs/recipes.md for the values of each key")
        level = [inner for key, value in level for inner in _inner(value, key)]
        if not level:
            return
    raise InputError(f"{where} is nested more than {_DEEPEST} levels deep", _DEPTH_HINT)


def _inner(value: Any, key: str) -> list[tuple[str, Any]]:
    """Return the dotted key and the value of each item in a table or list."""
    named: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        named = value.items()
    elif isinstance(value, list | tuple):
        named = enumerate(value)
    else:
        return []
    return [(f"{key}.{part}" if key else str(part), inner) for part, inner in named]


def _wrong(value: Any) -> str:
    """Return the reason why a value itself, not one inside it, is unusable; empty if it is usable."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return f"a number of {value.bit_length()} bits is too large"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number"
    if isinstance(value, date | time):
        return f"{value} is a date or a time, which no key accepts; put text in quotes"
    if isinstance(value, str) and ("\0" in value or not _is_encodable(value)):
        return f"{one_line(value)[:_SHOWN]!r} has a character that text cannot have"
    if not isinstance(value, _USABLE):
        return f"{shortened(one_line(repr(value)), _SHOWN)} is not text, a number, a list or a table"
    return ""


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def assignment(text: str, subject: str, example: str) -> tuple[str, Any]:
    """Return the key and the value of `key=value`; the value is TOML, or else plain text.

    Raises InputError, which names the `subject` and shows an `example`.
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise InputError(f"{subject} is not of the form key=value", f"for example {example}")
    if len(text) > _MAX_LENGTH:
        raise InputError(f"{one_line(key)[:_SHOWN]}: the value has {len(value):,} characters", "shorten it")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    except (ValueError, RecursionError):
        raise InputError(
            f"{one_line(key)}: the value is a number that is too long, or is nested too deeply", "shorten it"
        ) from None
    require_usable({key.strip(): parsed}, one_line(subject)[:_SHOWN_SUBJECT])
    return key.strip(), parsed


def validated(value: type[V], content: Mapping[str, Any], where: str, *, example: str, document: str) -> V:
    """Return parsed `content` as a `value`; raises InputError, with the wrong key and the nearest known one.

    `example` is how to see a complete file, `document` the page that explains the keys.
    """
    if not content:
        raise InputError(f"{where} is empty", f"start from a shipped one: {example}")
    require_usable(content, where)
    try:
        return value.model_validate(content)
    except ValidationError as error:
        wrong = problem(error, value)
        otherwise = f"see a shipped one: {example}" if wrong.missing else f"see {document} for the values of each key"
        raise wrong.as_error(where, otherwise) from error
