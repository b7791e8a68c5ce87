"""`kdbench list`: the names to choose from, one a line."""

import inspect
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import console
from kdbench.cli.options import Json

if TYPE_CHECKING:
    from kdbench.registry import Registry


COLUMN = 32  # greatest width of the names' column, in characters


class Kind(StrEnum):
    """What can be listed."""

    RECIPES = "recipes"
    DATASETS = "datasets"
    MODELS = "models"
    METHODS = "methods"
    FORMATS = "formats"
    STYLES = "styles"
    TARGETS = "targets"


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.", metavar="KIND")],
    json: Json = False,
) -> None:
    """List recipes, datasets, models, methods, formats, styles or targets.

    With --json the result is an object of names and descriptions.

    Example: kdbench list recipes
    """
    described = _LISTS[kind]()
    if json:
        console.result_json(described)
        return
    console.result("\n".join(_lines(described)))


def _lines(described: dict[str, str]) -> Iterator[str]:
    """Yield names and description in two columns; names with the same description share a line.

    If the names are wider than the column, the description follows on the next line.
    """
    groups: dict[str, list[str]] = {}
    for name, text in described.items():
        groups.setdefault(text, []).append(name)
    joined = {", ".join(sorted(names, key=_by_number)): text for text, names in groups.items()}
    width = max((len(names) for names in joined if len(names) <= COLUMN), default=COLUMN)
    for names, text in joined.items():
        yield f"{names:<{width}}  {text}".rstrip() if len(names) <= width else f"{names}\n{'':<{width}}  {text}"


def _by_number(name: str) -> list[tuple[str, int]]:
    """Return a key that sorts resnet20 before resnet110."""
    return [(letters, int(digits or 0)) for letters, digits in re.findall(r"(\D*)(\d*)", name)]


def _recipes() -> dict[str, str]:
    from kdbench.recipe.loading import shipped_recipes

    return {name: _header(text) for name, text in shipped_recipes().items()}


def _header(toml: str) -> str:
    """Return the first line of the header of a recipe or target."""
    first = toml.lstrip().partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def _datasets() -> dict[str, str]:
    from kdbench.data import DATASETS

    return _registered(DATASETS)


def _models() -> dict[str, str]:
    from kdbench.models import MODELS

    return _registered(MODELS)


def _methods() -> dict[str, str]:
    from kdbench.distill.methods import METHODS

    return _registered(METHODS)


def _formats() -> dict[str, str]:
    from kdbench.report import FORMATS

    return _registered(FORMATS)


def _styles() -> dict[str, str]:
    from kdbench.report.styles import STYLES

    return _registered(STYLES)


def _targets() -> dict[str, str]:
    from kdbench.judge.target import shipped_targets

    return {name: _header(text) for name, text in shipped_targets().items()}


def _registered(registry: "Registry[Any]") -> dict[str, str]:
    return {name: _first_line(registry.get(name)) for name in registry.names()}


def _first_line(entry: object) -> str:
    return (inspect.getdoc(entry) or "").partition("\n")[0]


_LISTS: dict[Kind, Callable[[], dict[str, str]]] = {
    Kind.RECIPES: _recipes,
    Kind.DATASETS: _datasets,
    Kind.MODELS: _models,
    Kind.METHODS: _methods,
    Kind.FORMATS: _formats,
    Kind.STYLES: _styles,
    Kind.TARGETS: _targets,
}
