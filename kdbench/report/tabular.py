"""A table for programs: as it is laid out, its numbers unrounded and with their intervals."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from kdbench.report.cells import Cell, Column, Number, Table


def table_csv(table: Table) -> str:
    """Return a table as CSV: of a column with numbers value, low and high, each number in the unit of its head.

    A unit that the head does not tell stands behind it: `Avg. Latency [ns]`. A missing value is an empty field; the
    reason is in a column of its own where there is any.
    """
    spread = [any(isinstance(row.cells[index], Number) for row in table.rows) for index in range(len(table.columns))]
    reasons = [_reasons(table, row.cells) for row in table.rows]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    heads = [head for column, numbers in zip(table.columns, spread, strict=True) for head in _heads(column, numbers)]
    writer.writerow([*heads, *(["missing"] if any(reasons) else [])])
    for row, reason in zip(table.rows, reasons, strict=True):
        fields = [field for cell, numbers in zip(row.cells, spread, strict=True) for field in _fields(cell, numbers)]
        writer.writerow([*fields, *([reason] if any(reasons) else [])])
    return stream.getvalue()


def table_json(table: Table) -> dict[str, Any]:
    """Return a table as JSON values: a cell of words is a string, a number an object."""
    return {
        "title": table.title,
        "columns": [{"head": column.head, "unit": column.unit} for column in table.columns],
        "rows": [[_value(cell) for cell in row.cells] for row in table.rows],
        "footnotes": list(table.footnotes),
        "notes": list(table.notes),
    }


def _heads(column: Column, numbers: bool) -> Iterator[str]:
    head = f"{column.head} [{column.unit}]" if column.unit not in {"", "1"} else column.head
    yield head
    if numbers:
        yield from (f"{head}, {bound}" for bound in ("low", "high"))


def _fields(cell: Cell, numbers: bool) -> Iterator[object]:
    if isinstance(cell, Number):
        yield cell.value
        yield cell.interval and cell.interval.low
        yield cell.interval and cell.interval.high
    else:
        yield cell.text
        yield from ("", "") if numbers else ()


def _reasons(table: Table, cells: tuple[Cell, ...]) -> str:
    missing = [
        f"{column.head}: {cell.reason}"
        for column, cell in zip(table.columns, cells, strict=True)
        if isinstance(cell, Number) and cell.value is None
    ]
    return "; ".join(missing)


def _value(cell: Cell) -> Any:
    if not isinstance(cell, Number):
        return cell.text
    known = {
        "value": cell.value,
        "low": cell.interval and cell.interval.low,
        "high": cell.interval and cell.interval.high,
        "status": cell.status,
        "evidence": cell.evidence,
        "aside": cell.aside,
        "reason": cell.reason,
    }
    return {key: value for key, value in known.items() if value not in {None, ""} or key == "value"}
