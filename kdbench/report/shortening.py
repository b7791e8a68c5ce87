"""Tables for people: of thousands of rows, those that a reader looks for.

Formats for programs, such as CSV and JSON, keep every row.
"""

from collections.abc import Mapping
from dataclasses import replace

from kdbench.report.cells import Number, Text
from kdbench.report.figures.selection import drawn_order
from kdbench.report.table import Row, Table, numbered
from kdbench.results.records import RunRecord
from kdbench.results.records.index import once_per_record

MAX_ROWS = 500
"""The most rows of a table that is shown in full: a browser sorts them without delay."""

FEW_ROWS = 200
"""The number of rows that are shown of a longer table."""

_MAX_NOTES, _FEW_NOTES = 60, 40
_RARE = 10  # the most best cells of a column that decide which rows are shown: more equal values say little
_NO_POSITION = 1 << 40


def shortened(table: Table, record: RunRecord, most: int = MAX_ROWS, few: int = FEW_ROWS) -> Table:
    """Return a table of `record`; of more than `most` rows it keeps `few`, in the table's order, and a note says so.

    It keeps the rows with the best values, then those of the models that figures show (`drawn_order`: teachers, and the
    Pareto front of score and latency), then the first ones. Footnotes of other rows are dropped.
    """
    notes = table.notes
    if len(notes) > _MAX_NOTES:
        notes = (*notes[:_FEW_NOTES], f"{len(notes) - _FEW_NOTES:,} more notes are not shown.")
    if len(table.rows) <= most:
        return table if notes is table.notes else replace(table, notes=notes)
    positions, rare = _positions(record), _rare_best(table)
    ranks = [(not rare & _best(row), _position(row, positions), index) for index, row in enumerate(table.rows)]
    kept = sorted(index for *_, index in sorted(ranks)[:few])
    rows, footnotes = numbered(table.rows[index] for index in kept)
    note = (
        f"Shown are {few:,} of {len(table.rows):,} rows: those with the best values, those of the models that figures "
        "name, and the first ones. `record.json` has all numbers; `kdbench report RUN --format csv` writes them all."
    )
    return replace(table, rows=rows, footnotes=footnotes, notes=(note, *notes), left_out=len(table.rows) - few)


@once_per_record
def _positions(record: RunRecord) -> Mapping[str, int]:
    return {group.label: position for position, group in enumerate(drawn_order(record))}


def _position(row: Row, positions: Mapping[str, int]) -> int:
    """Return the position of the first model that a row names."""
    named = (positions[cell.text] for cell in row.cells if isinstance(cell, Text) and cell.text in positions)
    return next(named, _NO_POSITION)


def _rare_best(table: Table) -> set[int]:
    """Return the columns with few best cells: if thousands are equal, none of them has to be shown."""
    counts: dict[int, int] = {}
    for row in table.rows:
        for index in _best(row):
            counts[index] = counts.get(index, 0) + 1
    return {index for index, count in counts.items() if count <= _RARE}


def _best(row: Row) -> set[int]:
    return {index for index, cell in enumerate(row.cells) if isinstance(cell, Number) and cell.best}
