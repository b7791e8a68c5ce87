"""Shipped recipes, and reading a recipe by name or from a TOML file, with overrides."""

import copy
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from kdbench import toml_files
from kdbench.characters import one_line
from kdbench.errors import InputError
from kdbench.recipe import Recipe
from kdbench.recipe.expanding import is_index
from kdbench.recipe.paths import located

_LONGEST_PATH = 20  # parts of a key


def shipped_recipes() -> dict[str, str]:
    """Return the shipped recipes: name to TOML text."""
    return toml_files.shipped(resources.files("kdbench.recipe") / "shipped")


def load_recipe(name_or_path: str | Path = "digits", overrides: Sequence[str] = ()) -> Recipe:
    """Return the shipped recipe of that name, or the one in the TOML file at that path, with overrides applied.

    Paths in a file are relative to it.

    An override is `key.path=value`; items of a list are selected by their `name` or their index from 0, `*` selects
    all: `student.*.training.epochs=2`. Values are TOML, or else plain text. Raises InputError.

        >>> kdbench.load_recipe("digits", ["training.epochs=5"]).training.epochs
        5
    """
    content = read_content(name_or_path)
    for override in overrides:
        key, value = toml_files.assignment(override, f"override {override!r}", "training.epochs=5")
        _override(content, key, value, override)
    return recipe_from(content, str(name_or_path))


def read_content(name_or_path: str | Path) -> dict[str, Any]:
    """Return what a shipped recipe or a TOML file says, not validated; raises InputError.

    A file's `folder`, to which its paths are relative, becomes absolute.
    """
    name, shipped = str(name_or_path), shipped_recipes()
    content = toml_files.parse(*toml_files.find(name, shipped, "recipe"))
    if name not in shipped and content:
        content["folder"] = str(located(content.get("folder", ""), str(Path(name).absolute().parent)).absolute())
    return content


def overridden(content: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a recipe's content with other values, by the keys of overrides; raises InputError."""
    changed = copy.deepcopy(dict(content))
    for key, value in values.items():
        toml_files.require_usable({key: value}, f"override {one_line(key)[:40]!r}")
        _override(changed, key, copy.deepcopy(value), f"{key}={value!r}")
    return changed


def _override(content: dict[str, Any], key: str, value: Any, override: str) -> None:
    path = key.split(".")
    if len(path) > _LONGEST_PATH:
        raise InputError(f"the override's key {one_line(key)[:40]!r}… has {len(path)} parts", "shorten the key")
    _assign(content, path, value, override)


def recipe_of(recipe: Recipe | Mapping[str, Any] | str | Path) -> Recipe:
    """Return a recipe as it is, from a table, or as `load_recipe` reads it by name or path; raises InputError."""
    if isinstance(recipe, Recipe):
        return recipe
    return recipe_from(recipe) if isinstance(recipe, Mapping) else load_recipe(recipe)


def recipe_from(content: Mapping[str, Any], where: str = "the recipe") -> Recipe:
    """Validate parsed content as a recipe; raises InputError that names the key and the nearest known one."""
    example = "`kdbench list recipes`"
    return toml_files.validated(Recipe, content, where, example=example, document="docs/recipes.md")


def _assign(node: Any, path: list[str], value: Any, override: str) -> None:
    head, *rest = path
    if isinstance(node, list):
        names = [str(item.get("name", "")) if isinstance(item, dict) else "" for item in node]
        if head == "*":
            indices = list(range(len(node)))
        elif head in names:
            indices = [names.index(head)]
        elif is_index(head, node):
            indices = [int(head)]
        else:
            items = f"items: {', '.join(filter(None, names))}, or * for all"
            raise InputError(f"override {override!r}: no item {head!r}", items)
        for index in indices:
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
        message = f"override {override!r}: {head!r} is a key of a plain value"
        raise InputError(message, "see docs/recipes.md for the keys")
