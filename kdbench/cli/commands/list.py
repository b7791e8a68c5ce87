"""`kdbench list`: the names to choose from, one per line."""

import inspect
import re
from collections.abc import Iterator
from enum import StrEnum
from importlib import import_module
from typing import Annotated

import typer

from kdbench.cli import console
from kdbench.cli.options import Json, one_of

COLUMN = 32  # greatest width of the names' column, in characters
Kind = StrEnum("Kind", "RECIPES DATASETS MODELS METHODS COMPRESSORS TRACKERS FORMATS STYLES TARGETS")


def _kinds(incomplete: str) -> list[str]:
    return [kind.value for kind in Kind if kind.startswith(incomplete)]


def list_(
    kind: Annotated[
        Kind, typer.Argument(help="What to list.", metavar="KIND", parser=one_of(Kind, "KIND"), autocompletion=_kinds)
    ],
    json: Json = False,
) -> None:
    """List recipes, datasets, models, methods, compressors, trackers, formats, styles or targets.

    With --json the result is an object of names and descriptions.

    Example: kdbench list recipes
    """
    described = _described(kind)
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


def _described(kind: Kind) -> dict[str, str]:
    """Return the names of a kind, each with the first line of what describes it."""
    module, name = _SOURCES[kind]
    source = getattr(import_module(module), name)
    if callable(source):  # shipped TOML files, described by their header
        return {name: _header(text) for name, text in source().items()}
    return {name: (inspect.getdoc(source.get(name)) or "").partition("\n")[0] for name in source.names()}


def _header(toml: str) -> str:
    """Return the first line of the header of a recipe or target."""
    first = toml.lstrip().partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


_SOURCES = {
    Kind.RECIPES: ("kdbench.recipe.loading", "shipped_recipes"),
    Kind.DATASETS: ("kdbench.data", "DATASETS"),
    Kind.MODELS: ("kdbench.models", "MODELS"),
    Kind.METHODS: ("kdbench.distill.methods", "METHODS"),
    Kind.COMPRESSORS: ("kdbench.compress", "COMPRESSORS"),
    Kind.TRACKERS: ("kdbench.distill.trackers", "TRACKERS"),
    Kind.FORMATS: ("kdbench.report", "FORMATS"),
    Kind.STYLES: ("kdbench.report.styles", "STYLES"),
    Kind.TARGETS: ("kdbench.judge.target", "shipped_targets"),
}
"""The registry of each kind, or the function that returns its shipped files: module and name."""
