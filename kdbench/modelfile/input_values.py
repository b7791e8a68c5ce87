"""Values of a model's description as other programs write them: TOML, JSON, literals, lists of class names."""

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.results.preprocessing import InputSpec
from kdbench.user_input import toml_files
from kdbench.user_input.validation import validated


def input_spec(values: Mapping[str, Any], path: Path, where: str) -> InputSpec:
    """Return the values that are known as a spec; `labels` may be the path of a file, relative to that at `path`."""
    known = {key: value for key, value in values.items() if value is not None}
    if isinstance(file := known.get("labels"), str):
        from kdbench.user_input.options import labels

        try:
            known["labels"] = labels(str(path.parent / file))
        except ValueError as error:
            hint = "give a list of names, or a file of one name a line"
            raise InputError(f"{where}: labels: {error}", hint) from None
    try:
        return validated(InputSpec, known, "see docs/models.md")
    except InputError as error:
        raise InputError(f"{where}: {error.message}", error.hint) from None


def read_toml(file: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; raises InputError for one that cannot be read or is not TOML."""
    try:
        return toml_files.parse(storage.read_text(file), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}", "it is a TOML text file") from error


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty if there is none, because other programs' files may hold anything."""
    value = storage.read_json(file, "configuration") if file.is_file() else {}
    return value if isinstance(value, dict) else {}


def literal(text: str) -> Any:
    """Return the value of a literal as JSON or Python writes it; the text itself if it is none."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def list_of_names(value: Any) -> list[str] | None:
    """Return the names of classes in a property; None for one that lists none, such as the number of classes."""
    if isinstance(value, dict):
        return names_in_order(value)
    if isinstance(value, str):
        value = [name.strip() for name in value.replace("\n", ",").split(",") if name.strip()]
    return [str(name) for name in value] if isinstance(value, list | tuple) and len(value) > 1 else None


def names_in_order(names: Mapping[Any, Any]) -> list[str] | None:
    """Return the names of classes by their numbers; None for placeholders, or numbers with gaps."""
    try:
        by_number = {int(number): str(name) for number, name in names.items()}
    except ValueError:
        return None
    if sorted(by_number) != list(range(len(by_number))):
        return None
    ordered = [by_number[number] for number in range(len(by_number))]
    placeholders = all(name == f"LABEL_{number}" for number, name in enumerate(ordered))
    return None if placeholders or not ordered else ordered
