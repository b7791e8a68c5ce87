"""How wide the columns of a table are on a terminal, in characters."""

from collections.abc import Sequence

from kdbench.characters import one_line
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.table import Table

_BREAKABLE = 24  # characters of a word, such as a model's name, that may be broken
_BETWEEN = 2  # characters between two columns


def column_widths(table: Table, width: int, *, intervals: bool, beside: bool) -> list[int] | None:
    """Return a width for each column so that neither a number nor a word is broken; None if `width` is too small.

    With `intervals`, they are shown `beside` the value or below it. Extra space goes to unbroken cells, then to
    unbroken heads.
    """
    total = width - _BETWEEN * len(table.columns)
    heads = [column.head for column in table.columns]
    cells = [[row.cells[index] for row in table.rows] for index in range(len(heads))]
    least = [max(_longest_word(head), *map(_least, column)) for head, column in zip(heads, cells, strict=True)]
    whole = [max(_whole(cell, intervals, beside) for cell in column) for column in cells]
    widths = distributed(least, whole, total)
    if widths is None:
        return None
    spare = total - sum(widths)
    for length, index in sorted((len(head), index) for index, head in enumerate(heads)):
        more = length - widths[index]
        if 0 < more <= spare:  # a head that is still too long would gain nothing
            widths[index] += more
            spare -= more
    return widths


def shown_text(cell: Number) -> str:
    """Return what a cell shows of a number, without its interval: `n/a` alone if a footnote gives the reason."""
    in_footnote = cell.value is None and cell.mark and not cell.shows_reason
    return f"{'n/a' if in_footnote else one_line(cell.text)}{cell.superscript}"


def distributed(least: Sequence[int], preferred: Sequence[int], total: int) -> list[int] | None:
    """Return widths between `least` and `preferred` with a sum of at most `total`; None if there are none.

    The space beyond the least widths is shared equally among the columns that prefer more.
    """
    spare = total - sum(least)
    if spare < 0:
        return None
    widths = list(least)
    order = sorted(range(len(widths)), key=lambda index: preferred[index] - least[index])
    for number, index in enumerate(order):
        more = min(max(preferred[index] - least[index], 0), spare // (len(order) - number))
        widths[index] += more
        spare -= more
    return widths


def _least(cell: Cell) -> int:
    if isinstance(cell, Text):
        return min(len(cell.text), _BREAKABLE) if cell.code else _longest_word(cell.text)
    if cell.value is None:
        return _longest_word(shown_text(cell))
    return max(len(cell.plain) + len(cell.superscript) + cell.best, _longest_word(cell.text))


def _whole(cell: Cell, intervals: bool, beside: bool) -> int:
    if isinstance(cell, Text):
        return len(cell.text)
    value, interval = len(shown_text(cell)) + cell.best, len(cell.interval_text) if intervals else 0
    return value + 1 + interval if interval and beside else max(value, interval)


def _longest_word(text: str) -> int:
    return min(max(map(len, text.split()), default=0), _BREAKABLE)
