"""Tables and rows of a layout by their titles and heads, and the values of cells."""

from kdbench.report.cells import Number
from kdbench.report.styles import Layout
from kdbench.report.table import Table


def heads(table: Table) -> str:
    return " | ".join(column.head for column in table.columns)


def titled(layout: Layout, title: str) -> Table:
    return next(table for table in layout.tables if table.title == title)


def rows_by(table: Table, head: str) -> dict[str, dict[str, object]]:
    """Return the rows as heads to cells, by the text under `head`."""
    named = [dict(zip((column.head for column in table.columns), row.cells, strict=True)) for row in table.rows]
    return {row[head].text: row for row in named}


def value(cell: object) -> float:
    assert isinstance(cell, Number)
    assert cell.value is not None
    return cell.value
