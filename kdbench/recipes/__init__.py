"""Shipped recipes, and reading one: by name or from a TOML file, overridden, with errors that name the key."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kdbench.errors import InputError
from kdbench.recipe import Recipe
from kdbench.registry import suggestion


def shipped_recipes() -> dict[str, str]:
    """Return the shipped recipes: name to TOML text."""
    folder = resources.files("kdbench.recipes")
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {file.name.removesuffix(".toml"): file.read_text(encoding="utf-8") for file in sorted(files, key=str)}


def load_recipe(name_or_path: str = "digits", overrides: Sequence[str] = ()) -> Recipe:
    """Return the shipped recipe of that name, or the one in the TOML file at that path, overrides applied.

    An override is `key.path=value`; items of a list are named by their `name` or counted from 0, `*` means
    all: `student.*.training.epochs=2`. Values are TOML, or else plain text. Raises InputError.
    """
    content = _parse(*_find(name_or_path))
    for override in overrides:
        _apply(content, override)
    return recipe_from(content, name_or_path)


def recipe_from(content: Mapping[str, Any], where: str = "the recipe") -> Recipe:
    """Validate parsed content as a recipe; raises InputError that names the key and the nearest known one."""
    if not content:
        raise InputError(f"{where} is empty", "start from a shipped one: `kdbench list recipes`")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise _explained(error, where) from error


def _find(name_or_path: str) -> tuple[str, str]:
    shipped = shipped_recipes()
    if name_or_path in shipped:
        return shipped[name_or_path], f"recipe {name_or_path}"
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.exists():
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except FileNotFoundError:
            raise InputError(f"no recipe at {path}", f"shipped recipes: {', '.join(shipped)}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as a recipe: {error}", "a recipe is a TOML text file") from error
    otherwise = f"shipped: {', '.join(shipped)}; or give the path of a .toml file"
    raise InputError(f"unknown recipe {name_or_path!r}", suggestion(name_or_path, shipped, otherwise))


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not valid TOML: {error}", "check the line it names") from error


def _apply(content: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise InputError(f"override {override!r} is not of the form key=value", "for example training.epochs=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    _assign(content, key.strip().split("."), value, override)


def _assign(node: Any, path: list[str], value: Any, override: str) -> None:
    head, *rest = path
    if isinstance(node, list):
        names = [str(item.get("name", "")) if isinstance(item, dict) else "" for item in node]
        chosen = (
            range(len(node))
            if head == "*"
            else [names.index(head)]
            if head in names
            else [int(head)]
            if head.isdigit() and int(head) < len(node)
            else None
        )
        if chosen is None:
            raise InputError(
                f"override {override!r}: no item {head!r}",
                f"items: {', '.join(filter(None, names))}, or * for all",
            )
        for index in chosen:
            if rest:
                _assign(node[index], rest, value, override)
            else:
                node[index] = value
    elif isinstance(node, dict):
        if not rest:
            node[head] = value
            return
        if isinstance(node.get(head), str) and head == "model":
            node[head] = {"name": node[head]}
        _assign(node.setdefault(head, {}), rest, value, override)
    else:
        raise InputError(f"override {override!r}: {head!r} is below a plain value", "see the recipe's keys")


def _explained(error: ValidationError, where: str) -> InputError:
    """Turn pydantic's first complaint into one that names the key, and the known key nearest to it."""
    complaints = error.errors()
    # A misspelt required key is missing and unknown at once; the unknown one says what was meant.
    first = next((complaint for complaint in complaints if complaint["type"] == "extra_forbidden"), complaints[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_at(first["loc"][:-1])
        hint = suggestion(str(first["loc"][-1]), known, f"known here: {', '.join(known)}")
        return InputError(f"{where}: unknown key {key!r}", hint)
    if first["type"] == "missing":
        return InputError(f"{where}: the key {key!r} is missing", "see a shipped recipe: `kdbench list recipes`")
    message = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "value_error" else f" (given: {first['input']!r})"
    return InputError(
        f"{where}: {key + ': ' if key else ''}{message}{given}",
        "see docs/recipes.md for what each key admits",
    )


def _keys_at(loc: Sequence[str | int]) -> list[str]:
    """Return the keys a recipe admits at a location such as ("student", 0, "training")."""
    section: Any = Recipe
    for part in loc:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        inner = [a for a in getattr(annotation, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        section = inner[0] if inner else annotation
    return list(section.model_fields)
