"""Sentences, cells and tables as GitHub renders them; text from records is escaped, so that none becomes markup."""

import html
import re
from functools import lru_cache

from kdbench.characters import one_line, visible
from kdbench.report.cells import Cell, Number, Text, portable
from kdbench.report.code_spans import split_code
from kdbench.report.table import Table

_SPECIAL = re.compile(
    r"""
      (?P<markup> [\\`*<~]
                | (?<!\w)_ | _(?!\w)    # inside a word it is not emphasis, at its edge it may be
                | \](?=[(:\[])          # "](" and "]:" would turn an interval into a link
                | &(?=\#?\w+;) )
    | (?P<space> [ ](?=\#+$) )          # a heading may end in "#"
    | (?P<dollar> \$ )                  # a formula
    # What GitHub turns into a notification, a link or a picture, even behind a backslash.
    | (?P<active> @(?=\w) | \#(?=\d) | \bGH-(?=\d)
                | \bwww(?=\.) | :(?=//) | \b(?:mailto|xmpp): | :(?=(?:[a-z]\w*|[+-]1):) )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_BRACKET = re.compile(r"(?<!\\)[\[\]]")
_NO_WIDTH = "&#8203;"  # a space without width, which ends a link
# What begins a heading, a quote, a list, a line or a check box.
_OPENING = re.compile(
    r"(\d{1,9})?((?<=\d)[.)](?=\s|$) | (?<!\d)(?:\#(?=\#{0,5}(?:\s|$)) | > | [-+](?=\s|[\s-]*$) | \[(?=[ xX]\])))",
    re.VERBOSE,
)


def prose(text: str) -> str:
    """Return text for a paragraph: one line, code spans kept, all other text escaped."""
    line = _within_line(text)
    if opening := _OPENING.match(line):
        return f"{opening[1] or ''}\\{opening[2]}{line[opening.end() :]}"
    return line


@lru_cache(maxsize=10_000)  # a table repeats names and outcomes
def _within_line(text: str) -> str:
    parts = split_code(" ".join(one_line(portable(text)).split()))
    return "".join(code(part) if index % 2 else _SPECIAL.sub(_escape, part) for index, part in enumerate(parts))


def _escape(special: re.Match[str]) -> str:
    if special["dollar"]:
        return "&#36;"
    if special["active"]:
        return f"{special[0]}{_NO_WIDTH}"
    return f"{special[0]}\\" if special["space"] else f"\\{special[0]}"


def in_table(text: str) -> str:
    """Return text for a table's cell: as `prose`, and a pipe does not end the cell (not even in a code span)."""
    return _within_line(text).replace("|", "\\|")


def code(text: str) -> str:
    """Return text as a code span on one line; the text may contain backticks."""
    text = one_line(text)
    if not text:
        return ""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    stripped = text[0] == text[-1] == " " and not text.isspace()  # one space at both ends is not part of the code
    padding = " " if text[0] == "`" or text[-1] == "`" or stripped else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def code_block(text: str, language: str) -> str:
    """Return lines of text as a block of code; the text may contain fences."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}{language}\n{visible(text)}\n{fence}"


def in_html(text: str) -> str:
    """Return text for a line of HTML within Markdown."""
    return html.escape(one_line(text))


def image(title: str, path: str) -> str:
    """Return an image whose text is `title`; `path` is not escaped."""
    text = _BRACKET.sub(r"\\\g<0>", prose(title))
    return f"![{text}]({path})"


def cell(value: Cell, intervals: bool) -> str:
    """Return one cell of a table: the best in bold, with its interval and the mark of its footnote."""
    if isinstance(value, Text):
        return code(value.text).replace("|", "\\|") if value.code else in_table(value.text)
    shown = f"**{in_table(value.text)}**" if value.best else in_table(value.text)
    return f"{shown}{value.superscript} {value.interval_text if intervals else ''}".rstrip()


def table(drawn: Table) -> str:
    """Return the table with its footnotes and notes below it; without columns, only the notes, as paragraphs."""
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
