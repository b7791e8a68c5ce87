"""CSV and JSON for other programs: the record, its layers, and the tables of a style.

`report.csv` has a row for each measurement and pair, in the metrics' own units; `layers.csv` has a row for each
profiled layer. In a style, `report-STYLE.csv`, `report-STYLE-2.csv` and so on hold the tables as they are shown, with
value, low and high of each number. `report.json` is the record, `report-STYLE.json` the tables of a style.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from kdbench.files import storage
from kdbench.report import FORMATS, Content
from kdbench.report.cells import Cell, Number
from kdbench.report.render.spreadsheet import field
from kdbench.report.table import Column, Table
from kdbench.results.metrics import metric
from kdbench.results.records import Measurement, Pair, RunRecord

_BEFORE = ("run", "model", "name", "role", "seed", "teacher", "metric")
_AFTER = ("value", "unit", "low", "high", "level", "status", "n", "evidence", "source", "reason", "hint")
_COMMON_AXES = ("provider", "threads", "batch")  # always present, so that files of different records can be joined
_LAYER = ("run", "model", "position", "layer", "operator", "macs", "time_ns", "time_share", "reason")

Rows = Iterator[Sequence[object]]
"""The rows of a CSV file, the heads first."""


@FORMATS.register("csv")
def write_csv(content: Content, folder: Path) -> list[Path]:
    """Write `report.csv`, and `layers.csv` if layers were profiled, or the tables of the style."""
    record = content.record
    if content.layout is None:
        files = {"report.csv": record_rows(record), **({"layers.csv": layer_rows(record)} if record.layers else {})}
    else:
        suffixes = ("", *(f"-{number}" for number in range(2, len(content.layout.tables) + 1)))
        tables = zip(suffixes, content.layout.tables, strict=True)
        files = {f"{content.stem}{suffix}.csv": table_rows(table) for suffix, table in tables}
    for name, rows in files.items():
        with storage.writing(folder / name) as stream:
            _write(rows, stream)
    return [folder / name for name in files]


@FORMATS.register("json")
def write_json(content: Content, folder: Path) -> list[Path]:
    """Write the record as `report.json`, or the tables of a style as `report-STYLE.json`."""
    path = folder / f"{content.stem}.json"
    if content.layout is None:
        content.record.write(path)
    else:
        tables = [table_json(table) for table in content.layout.tables]
        storage.write_json(path, {"style": content.style, "tables": tables})
    return [path]


def record_rows(record: RunRecord) -> Rows:
    """Yield measurements and pairs as rows of CSV; an absent value is an empty field, its reason in `reason`.

    Columns: run, model, name, role, seed, teacher (of a pair), metric, one per axis, value, unit, low, high,
    level, status, n, evidence, source, reason, hint.
    """
    results: list[Measurement | Pair] = [*record.measurements, *record.pairs]
    others = sorted({axis for result in results for axis in result.axes} - set(_COMMON_AXES))
    axes = (*_COMMON_AXES, *others)
    return _rows_of([*_BEFORE, *axes, *_AFTER], (_result_fields(record, result, axes) for result in results))


def layer_rows(record: RunRecord) -> Rows:
    """Yield every layer as a row of CSV, in the order in which they run; an absent value is an empty field.

    Columns: run, model, position (from 1), layer, operator, macs (of one sample), time_ns (of one call), time_share,
    reason, and one per axis.
    """
    heads = [*_LAYER, *dict.fromkeys(axis for layer in record.layers for axis in layer.axes)]
    return _rows_of(heads, _layer_fields(record))


def _layer_fields(record: RunRecord) -> Iterator[Mapping[str, object]]:
    positions: dict[str, int] = {}
    for layer in record.layers:
        positions[layer.model] = positions.get(layer.model, 0) + 1
        first = {"run": record.name, "position": positions[layer.model], "layer": layer.name}
        yield {**first, **layer.model_dump(exclude={"name", "axes"}), **layer.axes}


def table_rows(table: Table) -> Rows:
    """Yield a table as rows of CSV: value, low and high of a column with numbers, in the unit of its head.

    A unit that the head does not state is added to it: `Avg. Latency [ns]`. A missing value is an empty field; the
    reasons are in a column of their own if there are any.
    """
    numbers = [any(isinstance(row.cells[index], Number) for row in table.rows) for index in range(len(table.columns))]
    reasons = [_reasons(table, row.cells) for row in table.rows]
    heads = [head for column, numeric in zip(table.columns, numbers, strict=True) for head in _heads(column, numeric)]
    missing = any(reasons)
    yield [*heads, *(["missing"] if missing else [])]
    for row, reason in zip(table.rows, reasons, strict=True):
        fields = [field for cell, numeric in zip(row.cells, numbers, strict=True) for field in _fields(cell, numeric)]
        yield [*fields, *([reason] if missing else [])]


def table_json(table: Table) -> dict[str, Any]:
    """Return a table as JSON values: a cell of words is a string, a number an object."""
    return {
        "title": table.title,
        "columns": [{"head": column.head, "unit": column.unit} for column in table.columns],
        "rows": [[_value(cell) for cell in row.cells] for row in table.rows],
        "footnotes": list(table.footnotes),
        "notes": list(table.notes),
    }


def _write(rows: Rows, stream: IO[bytes]) -> None:
    """Write rows with only one in memory at a time."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    csv.writer(text, lineterminator="\n").writerows(map(field, row) for row in rows)
    text.detach()  # flushes, and leaves the stream open


def _rows_of(heads: Sequence[str], rows: Iterable[Mapping[str, object]]) -> Rows:
    yield heads
    yield from ([row.get(head) for head in heads] for row in rows)


def _result_fields(record: RunRecord, result: Measurement | Pair, axes: tuple[str, ...]) -> dict[str, object]:
    pair = result if isinstance(result, Pair) else None
    card = record.cards[result.model if isinstance(result, Measurement) else result.student]
    interval = result.interval
    return {
        "run": record.name,
        "model": card.id,
        "name": card.name,
        "role": card.role,
        "seed": card.seed,
        "teacher": pair.teacher if pair else None,
        "metric": result.metric,
        **{axis: result.axes.get(axis) for axis in axes},
        "value": result.value,
        "unit": metric(result.metric).unit,
        **{bound: getattr(interval, bound) if interval else None for bound in ("low", "high", "level")},
        **{key: getattr(result, key) for key in ("status", "n", "evidence", "reason")},
        **{key: None if pair else getattr(result, key) for key in ("source", "hint")},
    }


def _heads(column: Column, numeric: bool) -> list[str]:
    head = f"{column.head} [{column.unit}]" if column.unit not in {"", "1"} else column.head
    return [head, *(f"{head}, {bound}" for bound in ("low", "high") if numeric)]


def _fields(cell: Cell, numeric: bool) -> list[object]:
    if isinstance(cell, Number):
        return [cell.value, cell.interval and cell.interval.low, cell.interval and cell.interval.high]
    return [cell.text, *(["", ""] if numeric else [])]


def _reasons(table: Table, cells: tuple[Cell, ...]) -> str:
    numbers = [(c.head, cell) for c, cell in zip(table.columns, cells, strict=True) if isinstance(cell, Number)]
    return "; ".join(f"{head}: {cell.reason}" for head, cell in numbers if cell.value is None)


def _value(cell: Cell) -> Any:
    if not isinstance(cell, Number):
        return cell.text
    value, low, high = _fields(cell, numeric=True)
    texts = {key: getattr(cell, key) for key in ("status", "evidence", "aside", "reason")}
    known = {"value": value, "low": low, "high": high, **texts}
    return {key: value for key, value in known.items() if value not in {None, ""} or key == "value"}
