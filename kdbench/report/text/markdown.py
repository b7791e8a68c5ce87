"""Sentences, cells and tables as GitHub renders them."""

import re

from kdbench.report.cells import Cell, Number, Text, portable
from kdbench.report.table import Table

_CODE_SPAN = re.compile(r"(`[^`]+`)")
# An underscore inside a word is no emphasis, at its edge it may be; "](" would turn an interval into a link.
_SPECIAL = re.compile(r"[\\*<~]|(?<!\w)_|_(?!\w)|\](?=\()|&(?=#?\w+;)")


def prose(text: str) -> str:
    """Return text for a paragraph: one line, code spans kept, all other text escaped."""
    parts = _CODE_SPAN.split(" ".join(portable(text).split()))
    return "".join(part if part.startswith("`") and len(part) > 1 else _SPECIAL.sub(r"\\\g<0>", part) for part in parts)


def in_table(text: str) -> str:
    """Return text for a table's cell: as `prose`, and a pipe does not end the cell (not even in a code span)."""
    return prose(text).replace("|", "\\|")


def code(text: str) -> str:
    """Return text as a code span; the text may contain backticks."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def cell(value: Cell, intervals: bool) -> str:
    """Return one cell of a table: the best in bold, with its interval and the mark of its footnote."""
    if isinstance(value, Text):
        return code(value.text).replace("|", "\\|") if value.code else in_table(value.text)
    shown = f"**{in_table(value.text)}**" if value.best else in_table(value.text)
    return f"{shown}{value.superscript} {value.interval_text if intervals else ''}".rstrip()


def table(drawn: Table) -> str:
    """Return the table with its footnotes and notes below it; without columns, the notes alone as paragraphs."""
    if not drawn.columns:
        return "\n\n".join(prose(note) for note in drawn.notes)
    heads = [in_table(column.head) for column in drawn.columns]
    rules = ["---:" if column.numeric else ":---" for column in drawn.columns]
    body = [
        [cell(value, column.intervals) for value, column in zip(row.cells, drawn.columns, strict=True)]
        for row in drawn.rows
    ]
    lines = [f"| {' | '.join(line)} |" for line in (heads, rules, *body)]
    marked = [f"{Number(str, mark=number).superscript} {prose(text)}" for number, text in enumerate(drawn.footnotes, 1)]
    below = [*marked, *(prose(note) for note in drawn.notes)]
    return "\n".join([*lines, "", *(f"- {line}" for line in below)]).rstrip()
