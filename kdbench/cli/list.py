"""`kdbench list`: what there is to choose from, a line each."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import console
from kdbench.cli.options import Json

if TYPE_CHECKING:
    from kdbench.registry import Registry


class Kind(StrEnum):
    """What can be listed."""

    RECIPES = "recipes"
    DATASETS = "datasets"
    MODELS = "models"
    METHODS = "methods"
    FORMATS = "formats"


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.", metavar="KIND")],
    json: Json = False,
) -> None:
    """List recipes, datasets, models, methods or formats.

    With --json the result is an object of names and descriptions.

    Example: kdbench list recipes
    """
    described = _LISTS[kind]()
    if json:
        console.result_json(described)
        return
    width = max(map(len, described), default=0)
    console.result("\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in described.items()))


def _recipes() -> dict[str, str]:
    from kdbench.recipes import shipped_recipes

    return {name: _header(text) for name, text in shipped_recipes().items()}


def _header(toml: str) -> str:
    """Return the first line of a recipe's evidence header."""
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
}
