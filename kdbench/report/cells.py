"""What a report's tables are made of: built once from the record, then drawn by every format.

A cell knows its text. A format decides only how to set it: bold, code, a footnote mark.
"""

import math
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from kdbench import units
from kdbench.results.cards import Evidence
from kdbench.results.records import Interval, Status

SHORT = 32  # longest reason, in characters, that a cell shows in full
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNCERTAINTY = re.compile(r" ± [\d,.]+")
_NUMBER_AND_UNIT = re.compile(r"([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)(\D*)")


@dataclass(frozen=True)
class Text:
    """A cell of words; `code` for a model's name."""

    text: str
    code: bool = False


@dataclass(frozen=True)
class Number:
    """A cell that holds a number with its interval, or the reason why there is none.

    `write` turns the value into text, and `plus_minus`, if given, the value and the half-width of its interval, which
    then has no brackets; an estimate is written roughly, without an interval. `aside` qualifies it ("batch 8"); a
    number that is not `comparable` with the others of its column is shown but never the best; `mark` is the number of
    the footnote on it.
    """

    write: Callable[[float], str]
    value: float | None = None
    interval: Interval | None = None
    status: Status = "ok"
    evidence: Evidence = "measured"
    reason: str = ""
    hint: str = ""
    aside: str = ""
    comparable: bool = True
    best: bool = False
    mark: int | None = None
    plus_minus: Callable[[float, float], str] | None = None

    @property
    def text(self) -> str:
        """The value as text, or `n/a (reason)`; without an interval in brackets."""
        if self.value is None:
            return f"n/a ({shortened(self.reason)})"
        text = self.plain
        asides = [self.aside, "unstable" if self.status == "unstable" else ""]
        if self.evidence == "estimated":
            text, asides = f"~{text}", ["est.", *asides]
        return " ".join([text, *(f"({aside})" for aside in asides if aside)])

    @property
    def plain(self) -> str:
        """The value as text and nothing else, but its uncertainty where it has one; empty if there is no value."""
        if self.value is None:
            return ""
        if self.evidence == "estimated":
            return roughly(self.value, self.write)
        if self.plus_minus is not None and self._half_width is not None:
            return self.plus_minus(self.value, self._half_width)
        return self.write(self.value)

    @property
    def interval_text(self) -> str:
        """The interval as `[low, high]`, in the value's unit where that fits; empty if there is none to be told."""
        if self.value is None or self.interval is None or self.evidence == "estimated":
            return ""
        if self.plus_minus is not None and self._half_width is not None:
            return ""
        return bracketed(self.value, self.interval, self.write)

    @property
    def _half_width(self) -> float | None:
        """Half the interval; None without one, and where the value is not in its middle."""
        if self.value is None or self.interval is None:
            return None
        below, above = self.value - self.interval.low, self.interval.high - self.value
        return (below + above) / 2 if math.isclose(below, above, rel_tol=1e-3) else None

    @property
    def footnote(self) -> str:
        """What must be said under the table about this cell; empty if the cell says it all."""
        reason = "" if self.says_why else sentence(self.reason)
        return f"{reason} {sentence(self.hint)}".strip() if self.reason else ""

    @property
    def says_why(self) -> bool:
        """Whether the cell itself has room for the whole reason why there is no number."""
        return self.value is None and self.reason == shortened(self.reason)

    @property
    def superscript(self) -> str:
        """The footnote's mark."""
        return "" if self.mark is None else str(self.mark).translate(_SUPERSCRIPTS)

    @property
    def competes(self) -> bool:
        """Whether the number may be called the best: neither missing, unstable, estimated nor taken elsewhere."""
        return self.value is not None and self.status == "ok" and self.evidence != "estimated" and self.comparable


Cell = Text | Number


@dataclass(frozen=True)
class Column:
    """A column's head, and whether higher or lower numbers are better (None: the column has no best).

    `unit` is that of the cells' values; empty where the head tells it.
    """

    head: str
    higher_is_better: bool | None = None
    numeric: bool = True
    intervals: bool = True
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """A row of cells. Rows of one `group` compete for the best; a row without a group, the teacher's, does not."""

    cells: tuple[Cell, ...]
    group: Hashable = None


@dataclass(frozen=True)
class Table:
    """A table with what must be said under it: `notes` on all of it, `footnotes` on marked cells, from 1.

    Without columns it is a section of words, its notes.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        assert all(len(row.cells) == len(self.columns) for row in self.rows), self.title

    @property
    def shown(self) -> bool:
        """Whether it has anything to show: rows, or nothing but words."""
        return bool(self.rows or (self.notes and not self.columns))


def finished(title: str, columns: Sequence[Column], rows: Iterable[Row], notes: Iterable[str] = ()) -> Table:
    """Return the table with its best numbers flagged and its footnotes numbered."""
    listed = list(rows)
    body = [list(row.cells) for row in listed]
    groups = {row.group for row in listed} - {None}
    for index, column in enumerate(columns):
        for group in groups:
            _flag_best(body, index, column, [number for number, row in enumerate(listed) if row.group == group])
    footnotes: dict[str, int] = {}
    for cells in body:
        for index, cell in enumerate(cells):
            if isinstance(cell, Number) and cell.footnote:
                cells[index] = replace(cell, mark=footnotes.setdefault(cell.footnote, len(footnotes) + 1))
    done = tuple(Row(tuple(cells), row.group) for cells, row in zip(body, listed, strict=True))
    return Table(title, tuple(columns), done, tuple(notes), tuple(footnotes))


def _flag_best(body: list[list[Cell]], index: int, column: Column, competitors: Sequence[int]) -> None:
    """Flag the best of a column, and all that print the same: a reader could not tell them apart.

    A lone competitor is not flagged: being the best of one says nothing. Counted and measured numbers are not
    ranked against modelled ones.
    """
    if column.higher_is_better is None:
        return
    cells = {row: cell for row in competitors if isinstance(cell := body[row][index], Number) and cell.competes}
    if any(cell.evidence == "measured" for cell in cells.values()):
        cells = {row: cell for row, cell in cells.items() if cell.evidence == "measured"}
    if len(cells) < 2:
        return
    choose = max if column.higher_is_better else min
    best = _without_uncertainty(choose(cells.values(), key=lambda cell: cell.value or 0.0))
    for row, cell in cells.items():
        if _without_uncertainty(cell) == best:
            body[row][index] = replace(cell, best=True)


def _without_uncertainty(cell: Number) -> str:
    return _UNCERTAINTY.sub("", cell.plain)


def shortened(reason: str) -> str:
    """Return the reason, or as much of its first clause as a cell has room for."""
    reason = " ".join(reason.split())
    if len(reason) <= SHORT:
        return reason
    clause = re.split(r"[:;,(]\s?|\. | - | – ", reason, maxsplit=1)[0].strip()
    if " " in clause and len(clause) <= SHORT:  # one word alone, such as "RAPL", names a source but no reason
        return clause
    return f"{reason[: SHORT - 1].rsplit(' ', 1)[0]}…"


def sentence(text: str) -> str:
    """Return `text` as a sentence: a capital letter, unless it begins with a name such as `student-kd`; a full stop."""
    text = " ".join(text.split())
    if re.match(r"[a-z]+([ ,;:.']|$)", text):
        text = text[0].upper() + text[1:]
    return text if not text or text[-1] in ".!?" else f"{text}."


def roughly(value: float, write: Callable[[float], str]) -> str:
    """Write a value with two significant digits: `12 mJ`, `3.1×`."""
    text = write(float(f"{value:.1e}"))
    parts = _NUMBER_AND_UNIT.fullmatch(text)
    return f"{units.significant(float(parts[1].replace(',', '')), 2)}{parts[2]}" if parts else text


def bracketed(value: float, interval: Interval, write: Callable[[float], str]) -> str:
    """Write an interval: `[5.1, 5.5]`, the unit left out where both bounds have the value's own."""
    bounds = [_NUMBER_AND_UNIT.fullmatch(write(bound)) for bound in (interval.low, interval.high)]
    own = _NUMBER_AND_UNIT.fullmatch(write(value))
    low, high = bounds
    if own and low and high and own[2] == low[2] == high[2]:
        return f"[{low[1]}, {high[1]}]"
    return f"[{write(interval.low)}, {write(interval.high)}]"
