"""`report.html`: the report as one file that opens anywhere, without a network and without a script to read it."""

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench import storage
from kdbench.report import FORMATS, Content, html
from kdbench.report.cells import sentence
from kdbench.report.inline_svg import inlined
from kdbench.report.parts import parts
from kdbench.report.portable import portable
from kdbench.report.verdict import verdict_sentence, verdict_table
from kdbench.results.verdicts import Verdict

if TYPE_CHECKING:
    from jinja2 import Environment

_TAKEN = (
    *("report", "status", "verdict", "warnings", "figures", "how-to-read"),
    *("environment", "re-create", "glossary", "machine", "files", "model-files"),
)


@FORMATS.register("html")
def write(content: Content, folder: Path) -> list[Path]:
    """Write `report.html`, or that of the style, and return its path."""
    path = folder / f"{content.stem}.html"
    storage.write_text(path, render(content))
    return [path]


def render(content: Content) -> str:
    """Return the report as one page: style sheet, script and figures are in it."""
    from markupsafe import Markup

    environment = _environment()
    record, drawn = content.record, inlined(content.drawings)
    verdicts = [(*_said(verdict), verdict_table(verdict)) for verdict in content.verdicts]
    sheet, script = (_source(environment, name) for name in ("report.css", "report.js"))
    return environment.get_template("report.html.j2").render(
        title=portable(record.title or record.name),
        **parts(content),
        verdicts=verdicts,
        anchors=html.anchors(
            (table.title for table in (*(judged for *_, judged in verdicts), *content.tables)), _TAKEN
        ),
        drawings=content.drawings,
        svgs=drawn.svgs,
        figure_entries=[(f"figure-{drawing.name}", drawing.title) for drawing in content.drawings],
        style=Markup(f"{sheet}\n{drawn.css}\n"),  # noqa: S704  # both written here
        script=Markup(script),  # noqa: S704  # the package's own
    )


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("kdbench.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters |= {
        "prose": html.prose,
        "rows": html.rows,
        "unit": html.unit,
        "unbroken": html.unbroken,
        "outcome": html.outcome,
        "sentence": sentence,
        "integrity": _integrity,
    }
    return environment


def _source(environment: "Environment", name: str) -> str:
    """Return a file from the templates' folder as it is."""
    assert environment.loader is not None
    text, *_ = environment.loader.get_source(environment, name)
    return text


def _said(verdict: Verdict) -> tuple[str, str]:
    """Return the verdict as a headline, and what its paragraph says beyond that."""
    headline = f"{verdict.overall} for {verdict.title}"
    return headline, sentence(verdict_sentence(verdict).removeprefix(f"{headline}: "))


def _integrity(text: str) -> str:
    """Return the hash by which the page's policy allows its own style sheet and script, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
