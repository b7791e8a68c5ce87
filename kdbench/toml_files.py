"""TOML files that a person writes, such as recipes and targets: finding, parsing and validating them."""

import tomllib
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.validation import problem

V = TypeVar("V", bound=BaseModel)


def shipped(folder: Traversable) -> dict[str, str]:
    """Return the TOML files of a folder of the package: name to text."""
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {file.name.removesuffix(".toml"): file.read_text(encoding="utf-8") for file in sorted(files, key=str)}


def find(name_or_path: str, known: Mapping[str, str], kind: str) -> tuple[str, str]:
    """Return the TOML text of the shipped file of that name, or of the file at that path, and its name for messages.

    `known` are the shipped texts by name, `kind` is what the file is ("recipe"). Raises InputError for an unknown name
    and for a file that cannot be read.
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


def assignment(text: str, subject: str, example: str) -> tuple[str, Any]:
    """Read `key=value`; the value is TOML, or else plain text. Raises InputError, which names the `subject`."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise InputError(f"{subject} is not of the form key=value", f"for example {example}")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def validated(value: type[V], content: Mapping[str, Any], where: str, *, example: str, document: str) -> V:
    """Return parsed `content` as a `value`; raises InputError that names the key and the nearest known one.

    `example` is where to see a complete file, `document` where the keys are explained.
    """
    if not content:
        raise InputError(f"{where} is empty", f"start from a shipped one: {example}")
    try:
        return value.model_validate(content)
    except ValidationError as error:
        wrong = problem(error, value)
        otherwise = f"see a shipped one: {example}" if wrong.missing else f"see {document} for what each key admits"
        raise wrong.as_error(where, otherwise) from error
