"""`report.html`: one self-contained file, readable without network and scripts; text from records is escaped."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup, escape

from kdbench.characters import one_line
from kdbench.files import storage
from kdbench.report import FORMATS, Content
from kdbench.report.cells import Cell, Number, Text, portable, sentence
from kdbench.report.code_spans import split_code
from kdbench.report.render import parts, render_template, template_text
from kdbench.report.render.inline_svg import inline
from kdbench.report.render.spreadsheet import field
from kdbench.report.table import Column, Table
from kdbench.report.text.verdict import verdict_sentence, verdict_table
from kdbench.results.verdicts import Verdict

_RESERVED = (
    *("report", "status", "verdict", "warnings", "figures", "how-to-read"),
    *("environment", "re-create", "glossary", "machine", "files", "model-files"),
)
_NO_UNITS = {"1", "×"}
_OUTCOMES = {
    **dict.fromkeys(("PASS", "READY"), "good"),
    **dict.fromkeys(("FAIL", "NOT READY"), "bad"),
    **dict.fromkeys(("MARGINAL", "UNKNOWN", "INCONCLUSIVE"), "open"),
}
_ONE = re.compile(r"\+?(1(?:\.0+)?|100\.00)(.*)")  # shares are written in per cent but have values from 0 to 1
_COUNT = re.compile(r"\d+(\.\d+)?")
_HYPHENATED = re.compile(r"(?<!\w)(\w+(?:-\w+)+)")
_LONG = 32  # characters from which a name may be broken
_ONE_LINE = 16  # characters up to which a number stays on one line on paper


@FORMATS.register("html")
def write(content: Content, folder: Path) -> list[Path]:
    """Write one self-contained page, `report.html` or `report-STYLE.html`."""
    path = folder / f"{content.stem}.html"
    storage.write_text(path, render(content))
    return [path]


def render(content: Content) -> str:
    """Return the report as one page: style sheet, script and figures are in it."""
    record, (svgs, css) = content.host, inline(content.drawings)
    verdicts = [(*_headline(verdict), verdict_table(verdict)) for verdict in content.verdicts]
    titles = [table.title for table in (*(judged for *_, judged in verdicts), *content.tables)]
    return render_template(
        "report.html.j2",
        _FILTERS,
        escape=True,
        title=portable(record.title or record.name),
        **parts(content),
        verdicts=verdicts,
        anchors=anchors(titles, _RESERVED),
        drawings=content.drawings,
        svgs=svgs,
        figure_entries=[(f"figure-{drawing.name}", drawing.title) for drawing in content.drawings],
        style=Markup(f"{template_text('report.css')}\n{css}\n"),  # noqa: S704  # the package's own
        script=Markup(template_text("report.js")),  # noqa: S704  # the package's own
    )


def excerpt(tables: Sequence[Table], lines: Sequence[str] = (), above: Sequence[str] = ()) -> str:
    """Return tables, with lines of text below and above them, as HTML to embed in another page."""
    named = anchors(table.title for table in tables)
    texts = {"above": above, "lines": lines}
    return render_template("excerpt.html.j2", _FILTERS, escape=True, tables=tables, anchors=named, **texts)


def _headline(verdict: Verdict) -> tuple[str, str]:
    """Return the verdict as a headline, and the rest of its paragraph."""
    headline = f"{verdict.overall} for {verdict.title}"
    return headline, sentence(verdict_sentence(verdict).removeprefix(f"{headline}: "))


def _integrity(text: str) -> str:
    """Return the hash with which the page's policy allows its own style sheet and script, and no others."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def prose(text: str) -> Markup:
    """Return text for a paragraph: one line, without paths, backticks as code."""
    parts = split_code(" ".join(one_line(portable(text)).split()))
    return _alternating(parts, Markup("<code>{}</code>"))


def unbroken(text: str) -> Markup:
    """Return a head that breaks between words, not within `Speed-up`."""
    parts = _HYPHENATED.split(one_line(text))
    return _alternating(parts, Markup('<span class="word">{}</span>'))


def _alternating(parts: list[str], element: Markup) -> Markup:
    """Join parts, every second one within `element`."""
    return Markup("").join(element.format(part) if index % 2 else escape(part) for index, part in enumerate(parts))


def anchors(titles: Iterable[str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """Return a unique id for each title, none of them in `reserved`: `student-against-teacher`."""
    ids: dict[str, str] = {}
    used = set(reserved)
    for title in titles:
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "table"
        candidates = (stem, *(f"{stem}-{number}" for number in range(2, len(used) + 3)))
        ids[title] = next(anchor for anchor in candidates if anchor not in used)
        used.add(ids[title])
    return ids


def rows(table: Table, anchor: str) -> list[list[Markup]]:
    """Return the cells of each row as `th` (the first of a row) and `td` elements.

    A number has its value and interval, in the metric's base unit, as `data-value`, `data-low` and `data-high`, unless
    the column mixes units. A footnote's mark links to `ANCHOR-note-N`; the first of each has the id `ANCHOR-ref-N`.
    """
    referenced: set[int] = set()
    mixed = [len(_units(table, index)) > 1 for index in range(len(table.columns))]
    elements = []
    for row in table.rows:
        cells = []
        for index, (cell, column) in enumerate(zip(row.cells, table.columns, strict=True)):
            first = isinstance(cell, Number) and cell.mark is not None and cell.mark not in referenced
            referenced |= {cell.mark} if isinstance(cell, Number) and cell.mark is not None else set()
            cells.append(_element(cell, column, anchor, head=index == 0, first=first, bare=mixed[index]))
        elements.append(cells)
    return elements


def unit(table: Table, index: int) -> str:
    """Return the unit of a column's values, unless its head states it; empty for ratios, counts and words.

    If the column has no declared unit, it is the one in which a value of 1 is written.
    """
    if known := table.columns[index].unit:
        return "" if known in _NO_UNITS else known
    units = _units(table, index)
    return units.pop() if len(units) == 1 else ""


def outcome(text: str) -> str:
    """Return the CSS class of an outcome or verdict; empty for other text."""
    return next((name for word, name in _OUTCOMES.items() if text.startswith(word)), "")


def _units(table: Table, index: int) -> set[str]:
    """Return the units of a column's values, none for words."""
    written = {cell.write(1.0) for row in table.rows if isinstance(cell := row.cells[index], Number)}
    matches = [_ONE.fullmatch(text) for text in written]
    units = {"" if match is None else "share" if match[1] == "100.00" else match[2].strip() for match in matches}
    return {"" if unit in _NO_UNITS else unit for unit in units}


def _element(cell: Cell, column: Column, anchor: str, *, head: bool, first: bool, bare: bool) -> Markup:
    """Return one cell; `first`: its mark is the first of that number; `bare`: it has no `data-` attributes."""
    attributes = {"scope": "row" if head else "", "class": _class(cell, column)}
    attributes |= {} if bare else _values(cell, column)
    named = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items() if value)
    inner = _text_html(cell, column) if isinstance(cell, Text) else _number(cell, column, anchor, first=first)
    name = "th" if head else "td"
    return Markup(f"<{name}{named}>{inner}</{name}>")  # noqa: S704  # `Markup.format` takes ten times as long


def _class(cell: Cell, column: Column) -> str:
    if isinstance(cell, Number) and cell.value is None:
        return "none"
    if isinstance(cell, Text) and cell.code and len(cell.text) > _LONG:
        return "long"
    return "number" if column.numeric else ""


def _values(cell: Cell, column: Column) -> Mapping[str, str]:
    if isinstance(cell, Text):
        copied = field(cell.text)  # the page's script copies a table as CSV
        counted = column.numeric and _COUNT.fullmatch(cell.text)
        return {"data-value": str(copied)} if counted or copied != one_line(cell.text) else {}
    if cell.value is None:
        return {}
    interval = cell.interval if cell.evidence != "estimated" else None
    bounds = {"data-low": _digits(interval.low), "data-high": _digits(interval.high)} if interval else {}
    return {"data-value": _digits(cell.value), **bounds}


def _text_html(cell: Text, column: Column) -> Markup:
    if cell.code:
        return Markup("<code>{}</code>").format(one_line(cell.text))
    if column.head == "Outcome" and (name := outcome(cell.text)):
        return Markup('<span class="outcome {}">{}</span>').format(name, one_line(cell.text))
    return prose(cell.text)


def _number(cell: Number, column: Column, anchor: str, *, first: bool) -> Markup:
    name = "strong" if cell.best else "span"
    text = one_line(portable(cell.text))
    kind = ' class="lines"' if len(text) > _ONE_LINE else ""
    shown = f"<{name}{kind}>{escape(text)}</{name}>"
    if cell.mark is not None:
        id_ = f' id="{escape(anchor)}-ref-{cell.mark}"' if first else ""
        link = f'href="#{escape(anchor)}-note-{cell.mark}" role="doc-noteref" aria-label="note {cell.mark}"'
        shown += f"<sup><a{id_} {link}>{cell.mark}</a></sup>"
    if column.intervals and cell.interval_text:
        shown += f' <span class="interval">{escape(cell.interval_text)}</span>'
    return Markup(shown)  # noqa: S704  # escaped above


def _digits(value: float) -> str:
    return f"{value:.10g}"


_FILTERS = {**{f.__name__: f for f in (prose, rows, unit, unbroken, outcome)}, "integrity": _integrity}
