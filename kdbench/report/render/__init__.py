"""How a report is written: as Markdown, HTML, CSV, JSON or JUnit XML, and on the terminal.

A format is one file that registers its writer in `kdbench.report.FORMATS`. Renderers draw what `tables`, `figures` and
`text` hand them; they compute nothing.
"""

from typing import Any

from kdbench.report.cells import sentence
from kdbench.report.content import Content
from kdbench.report.portable import portable, portable_recipe
from kdbench.report.text import method
from kdbench.report.text.paragraph import paragraph

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
        autoescape=escape,  # noqa: S701 - Markdown has its own escaping filters
    )
    environment.filters |= {"sentence": sentence, **filters}
    return environment.get_template(name).render(**context)


def template_text(name: str) -> str:
    """Return a file of `templates/` as it is."""
    from importlib.resources import files

    return files("kdbench.report.render").joinpath("templates", name).read_text(encoding="utf-8")


def parts(content: Content) -> dict[str, Any]:
    """Return what the templates of every format share, by the names that they use; figures are not included."""
    import tomli_w

    record = content.record
    return {
        "record": record,
        "layout": content.layout,
        "paragraph": paragraph(record),
        "leading": content.tables[:LEADING],
        "following": content.tables[LEADING:],
        "warnings": method.grouped_warnings(record),
        "notes": method.notes(record),
        "glossary": method.glossary(record),
        "environment": method.environment(record),
        "files": method.model_files(record),
        "command": portable(record.command),
        "recipe": tomli_w.dumps(portable_recipe(record.recipe)).strip() if record.recipe else "",
    }
