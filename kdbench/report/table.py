"""Tables of cells, and their usual form: a column for each metric, a row for each group of models."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from kdbench.report.cells import Cell, Number, Text
from kdbench.report.model_groups import ModelGroup
from kdbench.report.numbers import number
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Axes, RunRecord

_UNCERTAINTY = re.compile(r" ± [\d,.]+")
DASH = Text("–")


@dataclass(frozen=True)
class Column:
    """A column's head, and whether higher or lower numbers are better (None: the column has no best).

    `unit` is the unit of the values; empty if the head states it.
    """

    head: str
    higher_is_better: bool | None = None
    numeric: bool = True
    intervals: bool = True
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """A row of cells. Rows of one `ranking` compete for the best; a row without one, such as a teacher's, does not."""

    cells: tuple[Cell, ...]
    ranking: Hashable = None


@dataclass(frozen=True)
class Table:
    """A table with the text below it: `notes` on the whole table, `footnotes` on marked cells, numbered from 1.

    A table without columns is a section of text, its notes. `left_out` counts the rows that are not shown.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()
    left_out: int = 0

    def __post_init__(self) -> None:
        assert all(len(row.cells) == len(self.columns) for row in self.rows), self.title

    @property
    def shown(self) -> bool:
        """Whether the table has content: rows, or only text."""
        return bool(self.rows or (self.notes and not self.columns))

    def select(self, indices: Sequence[int], **changes: Any) -> "Table":
        """Return the table with only the columns at `indices`, in that order, and with `changes` to its fields."""
        rows = tuple(Row(tuple(row.cells[index] for index in indices), row.ranking) for row in self.rows)
        return replace(self, columns=tuple(self.columns[index] for index in indices), rows=rows, **changes)


@dataclass(frozen=True)
class Field:
    """A column together with its cell for a group of models at some axes (empty in a table without axes)."""

    column: Column
    cell: Callable[[ModelGroup, Axes], Cell]


def column(metric: str, **changes: Any) -> Column:
    """Return the column of a metric: its title, direction and unit, with `changes` to them."""
    known = declared(metric)
    return replace(Column(known.title, known.higher_is_better, unit=known.unit), **changes)


def metric_field(record: RunRecord, metric: str, axes: Axes | None = None, **changes: Any) -> Field:
    """Return the column of a metric, with `changes` to it, and its numbers at `axes` (None: the row's axes)."""
    shown = column(metric, **changes)
    return Field(shown, lambda group, at: number(record, group, metric, at if axes is None else axes))


def text_field(head: str, text: Callable[[ModelGroup], str], *, numeric: bool = False, code: bool = False) -> Field:
    """Return a column of words."""
    return Field(Column(head, numeric=numeric), lambda group, _: Text(text(group), code=code))


def words(*heads: str) -> list[Column]:
    """Return columns of words."""
    return [Column(head, numeric=False) for head in heads]


def _rank_students(group: ModelGroup, axes: Axes) -> Hashable:
    """Return the usual ranking of a row: students at the same axes compete for the best."""
    return None if group.role == "teacher" else tuple(sorted(axes.items()))


def note_on_bold(rankings: Iterable[Hashable], same: str) -> str:
    """Return a note that the best of a column is marked among the rows of each ranking; nothing if all share one.

    `same` says what the rows of a ranking have in common, such as `baseline`.
    """
    counts = Counter(ranking for ranking in rankings if ranking is not None)
    if len(counts) < 2 or max(counts.values()) < 2:
        return ""
    return f"Bold: the best of its column among the models with the same {same}."


def model_table(
    title: str,
    groups: Iterable[ModelGroup],
    fields: Iterable[Field],
    notes: Iterable[str] = (),
    *,
    ranking: Callable[[ModelGroup], Hashable] = lambda group: _rank_students(group, {}),
    name: str | None = "Model",
) -> Table:
    """Return a table with a row for each group: its label in the column `name`, if any, and a cell for each field."""
    rows: list[tuple[Axes, ModelGroup]] = [({}, group) for group in groups]
    return axes_table(title, rows, {}, fields, notes, ranking=lambda group, _: ranking(group), name=name)


def axes_table(
    title: str,
    rows: Iterable[tuple[Axes, ModelGroup]],
    axes_columns: Mapping[str, Callable[[Axes], str]],
    fields: Iterable[Field],
    notes: Iterable[str] = (),
    *,
    ranking: Callable[[ModelGroup, Axes], Hashable] = _rank_students,
    name: str | None = "Model",
) -> Table:
    """Return a table with a row for each pair of axes and group: label, `axes_columns`, then a cell for each field."""
    names = [text_field(name, lambda group: group.label, code=True)] if name else []
    axes_fields = [
        Field(Column(head, numeric=head in {"Threads", "Batch"}), lambda _, axes, write=write: Text(write(axes)))  # type: ignore[misc]
        for head, write in axes_columns.items()
    ]
    all_fields = [*names, *axes_fields, *fields]
    body = [Row(tuple(field.cell(group, axes) for field in all_fields), ranking(group, axes)) for axes, group in rows]
    return finished(title, [field.column for field in all_fields], body, notes)


def finished(title: str, columns: Sequence[Column], rows: Iterable[Row], notes: Iterable[str] = ()) -> Table:
    """Return the table with its best numbers flagged, its footnotes numbered, and without empty notes."""
    listed = list(rows)
    body = [list(row.cells) for row in listed]
    competitors: dict[Hashable, list[int]] = {}
    for row_number, row in enumerate(listed):
        competitors.setdefault(row.ranking, []).append(row_number)
    competitors.pop(None, None)
    for index, column in enumerate(columns):
        for row_numbers in competitors.values():
            _flag_best(body, index, column, row_numbers)
    marked, footnotes = numbered(Row(tuple(cells), row.ranking) for cells, row in zip(body, listed, strict=True))
    return Table(title, tuple(columns), marked, tuple(filter(None, notes)), footnotes)


def numbered(rows: Iterable[Row]) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Return rows whose cells have the numbers of their footnotes, and the footnotes, each once."""
    footnotes: dict[str, int] = {}

    def marked(cell: Cell) -> Cell:
        if not isinstance(cell, Number) or not (text := cell.footnote):
            return cell
        return replace(cell, mark=footnotes.setdefault(text, len(footnotes) + 1))

    numbered_rows = tuple(replace(row, cells=tuple(map(marked, row.cells))) for row in rows)
    return numbered_rows, tuple(footnotes)


def _flag_best(body: list[list[Cell]], index: int, column: Column, competitors: Sequence[int]) -> None:
    """Flag the best number of a column, and all with the same text, which a reader cannot distinguish.

    Where all are equal, none is flagged. Counted and measured numbers are not ranked against modelled ones. Networks
    that differ in the weights only compete with the mean of their numbers.
    """
    if column.higher_is_better is None:
        return
    cells = {row: cell for row in competitors if isinstance(cell := body[row][index], Number) and cell.competes}
    if any(cell.evidence == "measured" for cell in cells.values()):
        cells = {row: cell for row, cell in cells.items() if cell.evidence == "measured"}
    if not cells:
        return
    networks: dict[Hashable, list[Number]] = {}
    for row, cell in cells.items():
        networks.setdefault(cell.network or row, []).append(cell)
    means = {network: fmean(cell.value or 0.0 for cell in alike) for network, alike in networks.items()}
    best = (max if column.higher_is_better else min)(means, key=lambda network: means[network])
    texts = {network: _text(alike, means[network]) for network, alike in networks.items()}
    flagged = [row for row, cell in cells.items() if texts[cell.network or row] == texts[best]]
    for row in flagged if len(flagged) < len(cells) else ():
        body[row][index] = replace(cells[row], best=True)


def _text(alike: Sequence[Number], mean: float) -> str:
    """Return the value without its uncertainty, or the mean of several networks that differ in the weights only."""
    return _without_uncertainty(alike[0]) if len(alike) == 1 else alike[0].write(mean)


def _without_uncertainty(cell: Number) -> str:
    return _UNCERTAINTY.sub("", cell.plain)
