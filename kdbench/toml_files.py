"""Values that a person writes as TOML: parsed, checked, and complained about by the name of the key."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kdbench.errors import InputError
from kdbench.registry import suggestion

V = TypeVar("V", bound=BaseModel)


class Section(BaseModel):
    """A table of such a file: a frozen value that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WrongValueError(ValueError):
    """What a validator raises about a value: `hint` says what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def shipped(folder: Traversable) -> dict[str, str]:
    """Return the TOML files of a folder of the package: name to text."""
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {file.name.removesuffix(".toml"): file.read_text(encoding="utf-8") for file in sorted(files, key=str)}


def find(name_or_path: str, known: Mapping[str, str], kind: str) -> tuple[str, str]:
    """Return the TOML text that is shipped under that name or lies at that path, and what to call it in messages.

    `known` are those shipped, `kind` says what the file is ("recipe"). Raises InputError for a name that is not known
    and a file that cannot be read.
    """
    if name_or_path in known:
        return known[name_or_path], f"{kind} {name_or_path}"
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.exists():
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except FileNotFoundError:
            raise InputError(f"no {kind} at {path}", f"shipped {kind}s: {', '.join(known)}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as a {kind}: {error}", f"a {kind} is a TOML text file") from error
    otherwise = f"shipped: {', '.join(known)}; or give the path of a .toml file"
    raise InputError(f"unknown {kind} {name_or_path!r}", suggestion(name_or_path, known, otherwise))


def parse(text: str, where: str) -> dict[str, Any]:
    """Parse TOML; raises InputError, calling the text `where`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not valid TOML: {error}", "check the line it names") from error


def validated(value: type[V], content: Mapping[str, Any], where: str, *, example: str, document: str) -> V:
    """Return parsed `content` as a `value`; raises InputError that names the key and the nearest known one.

    `example` says where a complete one is to be seen, `document` where the keys are explained.
    """
    if not content:
        raise InputError(f"{where} is empty", f"start from a shipped one: {example}")
    try:
        return value.model_validate(content)
    except ValidationError as error:
        raise _explained(error, value, where, example, document) from error


def _explained(error: ValidationError, value: type[BaseModel], where: str, example: str, document: str) -> InputError:
    """Turn pydantic's first complaint into one that names the key, and the known key nearest to it."""
    complaints = error.errors()
    # A misspelt required key is missing and unknown at once; the unknown one says what was meant.
    first = next((complaint for complaint in complaints if complaint["type"] == "extra_forbidden"), complaints[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_at(value, first["loc"][:-1])
        hint = suggestion(str(first["loc"][-1]), known, f"known here: {', '.join(known)}")
        return InputError(f"{where}: unknown key {key!r}", hint)
    if first["type"] == "missing":
        return InputError(f"{where}: the key {key!r} is missing", f"see a shipped one: {example}")
    message = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "value_error" else f" (given: {first['input']!r})"
    hint = getattr(first.get("ctx", {}).get("error"), "hint", f"see {document} for what each key admits")
    return InputError(f"{where}: {key + ': ' if key else ''}{message}{given}", hint)


def _keys_at(value: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """Return the keys that are admitted at a location such as ("student", 0, "training"), as they are written."""
    section: Any = value
    for part in loc:
        if isinstance(part, int):
            continue
        field = next(f for name, f in section.model_fields.items() if part in {name, f.alias})
        inner = [
            a for a in getattr(field.annotation, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        section = inner[0] if inner else field.annotation
    return [field.alias or name for name, field in section.model_fields.items()]
