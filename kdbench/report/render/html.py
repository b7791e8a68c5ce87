"""`report.html`: the report as one self-contained file, readable without a network and without scripts."""

import base64
import hashlib
from pathlib import Path

from kdbench import storage
from kdbench.report import FORMATS, Content
from kdbench.report.cells import sentence
from kdbench.report.portable import portable
from kdbench.report.render import html_cells as html
from kdbench.report.render import parts, render_template, template_text
from kdbench.report.render.inline_svg import inline
from kdbench.report.text.verdict import verdict_sentence, verdict_table
from kdbench.results.verdicts import Verdict

_RESERVED = (
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

    record, inlined = content.record, inline(content.drawings)
    verdicts = [(*_headline(verdict), verdict_table(verdict)) for verdict in content.verdicts]
    titles = [table.title for table in (*(judged for *_, judged in verdicts), *content.tables)]
    return render_template(
        "report.html.j2",
        _FILTERS,
        escape=True,
        title=portable(record.title or record.name),
        **parts(content),
        verdicts=verdicts,
        anchors=html.anchors(titles, _RESERVED),
        drawings=content.drawings,
        svgs=inlined.svgs,
        figure_entries=[(f"figure-{drawing.name}", drawing.title) for drawing in content.drawings],
        style=Markup(f"{template_text('report.css')}\n{inlined.css}\n"),  # noqa: S704  # both written here
        script=Markup(template_text("report.js")),  # noqa: S704  # the package's own
    )


def _headline(verdict: Verdict) -> tuple[str, str]:
    """Return the verdict as a headline, and the rest of its paragraph."""
    headline = f"{verdict.overall} for {verdict.title}"
    return headline, sentence(verdict_sentence(verdict).removeprefix(f"{headline}: "))


def _integrity(text: str) -> str:
    """Return the hash with which the page's policy allows its own style sheet and script, and no others."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


_FILTERS = {
    "prose": html.prose,
    "rows": html.rows,
    "unit": html.unit,
    "unbroken": html.unbroken,
    "outcome": html.outcome,
    "integrity": _integrity,
}
