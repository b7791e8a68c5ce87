"""Shipped recipes, and reading a recipe by name or from a TOML file, with overrides."""

import copy
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from kdbench.characters import one_line
from kdbench.errors import InputError
from kdbench.files.storage import with_home
from kdbench.recipe import Recipe
from kdbench.recipe.paths import located
from kdbench.recipe.sweeps.assigning import assign
from kdbench.recipe.sweeps.points import Point, swept
from kdbench.recipe.sweeps.search import Range
from kdbench.recipe.sweeps.sweep import Sweep
from kdbench.user_input import toml_files
from kdbench.user_input.arguments import checked

_MAX_PATH = 20  # parts of a key
_DOT = re.compile(r'\.(?=(?:[^"]*"[^"]*")*[^"]*$)')  # outside of quotes


def shipped_recipes() -> dict[str, str]:
    """Return the shipped recipes: name to TOML text."""
    return toml_files.shipped(resources.files("kdbench.recipe") / "shipped")


@checked
def load_recipe(name_or_path: str | Path = "digits", overrides: Sequence[str] = ()) -> Recipe:
    """Return the shipped recipe of that name, or the one in the TOML file at that path, with overrides applied.

    Paths in a file are relative to it.

    An override is `key.path=value`; items of a list are selected by their `name` or their index from 0, `*` selects
    all: `student.*.training.epochs=2`. Values are TOML, or else plain text. Raises InputError.

        >>> kdbench.load_recipe("digits", ["training.epochs=5"]).training.epochs
        5
    """
    return recipe_from(load_content(name_or_path, overrides), os.fspath(name_or_path))


def load_content(name_or_path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of a recipe as `load_recipe` reads it, before it is expanded and validated."""
    content = read_content(name_or_path)
    for override in overrides:
        key, value = toml_files.assignment(override, f"override {override!r}", "training.epochs=5")
        _override(content, key, value, override)
    return content


def read_content(name_or_path: str | Path) -> dict[str, Any]:
    """Return the table of a shipped recipe or a TOML file, not validated; raises InputError.

    A file's `folder`, to which its paths are relative, becomes absolute.
    """
    name, shipped = os.fspath(name_or_path), shipped_recipes()
    content = toml_files.parse(*toml_files.find(name, shipped, "recipe"))
    if name not in shipped and content and isinstance(folder := content.get("folder", ""), str):  # else it is refused
        content["folder"] = str(located(folder, str(with_home(name).absolute().parent)).absolute())
    return content


def overridden(content: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a recipe's content with other values, by the keys of overrides; raises InputError."""
    changed = copy.deepcopy(dict(content))
    for key, value in toml_files.plain(values).items():
        toml_files.require_usable({key: value}, f"override {one_line(key)[:40]!r}")
        _override(changed, key, copy.deepcopy(value), f"{key}={value!r}")
    return changed


def _override(content: dict[str, Any], key: str, value: Any, override: str) -> None:
    path = _parts(key)
    if len(path) > _MAX_PATH:
        raise InputError(f"the override's key {one_line(key)[:40]!r}… has {len(path)} parts", "shorten the key")
    assign(content, path, value, f"override {override!r}")


def _parts(key: str) -> list[str]:
    """Return the parts of a dotted key; a part in quotes, such as an axis of a sweep, may contain dots itself."""
    parts = [part.removeprefix('"').removesuffix('"') if len(part) > 2 else part for part in _DOT.split(key)]
    if any('"' in part for part in parts):
        raise InputError(
            f"the override's key {one_line(key)[:40]!r} has a quote inside a part",
            """put quotes around a part that contains dots: student.1.sweep."training.epochs"=[1,2]""",
        )
    return parts


@dataclass(frozen=True)
class SweptRecipe:
    """A recipe that has the models of all `points` of its sweep.

    `content` is the recipe before its expansion, `table` its sweep. With a search, the points are those that it has
    chosen so far; before the first, a few that show what the axes change.
    """

    recipe: Recipe
    points: tuple[Point, ...]
    content: Mapping[str, Any]
    table: Sweep
    where: str = "the recipe"

    def at(self, points: Sequence[Mapping[str, Any]]) -> "SweptRecipe":
        """Return the recipe of a search at other points."""
        table = self.table.model_dump(mode="json", exclude_unset=True) | {"points": [dict(point) for point in points]}
        return _swept({**self.content, "sweep": table}, self.where)

    @property
    def values(self) -> dict[str, list[Any]]:
        """The different values of each axis, by its key."""
        values_by_key: dict[str, dict[str, Any]] = {}
        for point in self.points:
            for key, value in point.values.items():
                values_by_key.setdefault(key, {}).setdefault(repr(value), value)
        return {key: list(values.values()) for key, values in values_by_key.items()}


def load_sweep(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    axes: Mapping[str, Sequence[Any] | Range | Mapping[str, Any]] | None = None,
    seeds: int | None = None,
    overrides: Sequence[str] = (),
    search: Mapping[str, Any] | None = None,
) -> SweptRecipe:
    """Return a recipe at every point of `axes` (values by key), in addition to its `[sweep]` table.

    `recipe` is a value, a table, a shipped recipe's name or a file's path, with `overrides` as for `load_recipe`.
    `seeds` is the number of seeds, `search` are keys of `[sweep.search]`. Raises InputError.
    """
    where = "the recipe" if isinstance(recipe, Recipe | Mapping) else os.fspath(recipe)
    if isinstance(recipe, Recipe):
        recipe = recipe.resolved()
    content = toml_files.plain(recipe) if isinstance(recipe, Mapping) else load_content(recipe, overrides)
    table = content.get("sweep", {})
    if isinstance(table, Mapping):  # else `swept` refuses it
        known = table.get("axes", {})
        table = {**table, **({"seeds": seeds} if seeds is not None else {})}
        if axes and isinstance(known, Mapping):
            table.pop("points", None)  # which are instead of axes
            table["axes"] = {**known, **{key: toml_files.plain(_choices(values)) for key, values in axes.items()}}
        of_recipe = table.get("search", {})
        if search and isinstance(of_recipe, Mapping):
            table["search"] = {**of_recipe, **search}
    return _swept({**content, "sweep": table}, where)


def _choices(values: Sequence[Any] | Range | Mapping[str, Any]) -> Any:
    if isinstance(values, Range):
        return values.model_dump(exclude_unset=True)
    if isinstance(values, Mapping):
        return dict(values)
    return list(values) if getattr(values, "ndim", 1) else [values]  # numpy's array without axes is one value


def _swept(content: Mapping[str, Any], where: str) -> SweptRecipe:
    try:
        expanded, points = swept(content)
    except ValueError as error:
        raise InputError(f"{where}: {error}", "see docs/sweeps.md") from error
    base = {key: value for key, value in content.items() if key != "sweep"}
    return SweptRecipe(recipe_from(expanded, where), points, base, Sweep.model_validate(content["sweep"]), where)


def recipe_of(recipe: Recipe | Mapping[str, Any] | str | Path) -> Recipe:
    """Return a recipe as it is, from a table, or as `load_recipe` reads it by name or path; raises InputError."""
    if isinstance(recipe, Recipe):
        return recipe
    return recipe_from(recipe) if isinstance(recipe, Mapping) else load_recipe(recipe)


def recipe_from(content: Mapping[str, Any], where: str = "the recipe") -> Recipe:
    """Validate parsed content as a recipe; raises InputError that names the key and the nearest known one."""
    example = "`kdbench list recipes`"
    return toml_files.validated(Recipe, toml_files.plain(content), where, example=example, document="docs/recipes.md")
