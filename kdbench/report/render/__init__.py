"""How a report is written: as Markdown, HTML, CSV, JSON or JUnit XML, and on the terminal.

A format is one file that registers its writer in `kdbench.report.FORMATS`. Renderers set the
values of `tables`, `figures` and `text`; they compute nothing. Only `cli` and `api` import this folder; everything
else renders by `kdbench.report.write`.
"""

from collections.abc import Mapping
from typing import Any

from kdbench.characters import visible
from kdbench.report import Content
from kdbench.report.cells import portable, sentence
from kdbench.report.shortening import MAX_ROWS, shortened
from kdbench.report.text import method
from kdbench.report.text.paragraph import paragraph
from kdbench.report.text.warnings import grouped_warnings

LEADING = 2  # tables before the warnings and figures: those that a decision rests on


def render_template(name: str, filters: dict[str, Any], *, escape: bool, **context: Any) -> str:
    """Render a file of `templates/`; `sentence` and `source` (a template's text as it is) are always available."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("kdbench.report.render"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not escape,
        finalize=_shown,
        autoescape=escape,  # noqa: S701 - Markdown has its own escaping filters
    )
    environment.filters |= {"sentence": sentence, **filters}
    return environment.get_template(name).render(**context)


def _shown(value: Any) -> Any:
    """Return a value for a template: text without unsafe characters; markup from a filter unchanged."""
    return visible(value) if type(value) is str else value


def template_text(name: str) -> str:
    """Return a file of `templates/` as it is."""
    from importlib.resources import files

    return files("kdbench.report.render").joinpath("templates", name).read_text(encoding="utf-8")


def parts(content: Content) -> dict[str, Any]:
    """Return the variables that the templates of all formats share; figures are not included."""
    record = content.host
    long = len(record.models) > MAX_ROWS  # a recipe has a table for each point of a sweep
    return {
        "record": record,
        "layout": content.layout,
        "paragraph": paragraph(record),
        "leading": content.tables[:LEADING],
        "following": content.tables[LEADING:],
        "warnings": grouped_warnings(record),
        "notes": method.notes(record),
        "glossary": method.glossary(record),
        "environment": method.environment(record),
        "files": shortened(method.model_files(record), record),
        "command": portable(record.command),
        "recipe": recipe_text(record.recipe) if record.recipe and not long else "",
        "long_recipe": long,
    }


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """Return a resolved recipe as TOML, without machine-specific values."""
    import tomli_w

    return tomli_w.dumps(portable_recipe(recipe)).strip()


def portable_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved recipe for TOML, without machine-specific values.

    Keys without a value are left out (TOML has no null; absence means the same), and so is `data.root`. A model's
    training keeps only the keys that differ from the shared training, which it inherits.
    """
    content: dict[str, Any] = _without_none(recipe)
    shared = content.get("training", {})
    for role in ("teacher", "student"):
        content[role] = [_inheriting(entry, shared) for entry in content.get(role, [])]
    if isinstance(data := content.get("data"), dict):
        data.pop("root", None)
        data["name"] = portable(str(data.get("name", "")))  # folder:PATH and npz:PATH
    return content


def _inheriting(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return a teacher's or student's table with only the training keys that it overrides."""
    overrides = _differing(entry.get("training", {}), shared)
    rest = {key: value for key, value in entry.items() if key != "training"}
    return {**rest, "training": overrides} if overrides else rest


def _differing(values: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of `values`, at any depth, whose values differ from `shared`."""
    return {
        key: _differing(value, shared[key]) if isinstance(value, Mapping) and key in shared else value
        for key, value in values.items()
        if key not in shared or value != shared[key]
    }


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_none(inner) for inner in value if inner is not None]
    return value
