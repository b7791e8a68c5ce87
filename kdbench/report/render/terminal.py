"""The terminal output at the end of a run: summary, ratios and warnings, as wide as the terminal allows."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from kdbench.characters import one_line
from kdbench.report.axes import format_axes, headline
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.code_spans import without_marks
from kdbench.report.render.column_widths import column_widths, shown_text
from kdbench.report.shortening import shortened
from kdbench.report.table import Table
from kdbench.report.tables.energy import energies, run_batch
from kdbench.report.tables.latency import offline, time_by_layer
from kdbench.report.tables.runtimes import runtimes
from kdbench.report.tables.search import search
from kdbench.report.tables.summary import ratios as ratio_table
from kdbench.report.tables.summary import summary as summary_table
from kdbench.report.text.warnings import grouped_warnings
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table as RichTable

_MAX_ROWS, _FEW_ROWS = 120, 40  # of a table that is printed whole, and of a longer one
_BEST = "*"  # marks the best on terminals without bold


def summary(record: RunRecord) -> "RenderableType":
    """Return what a run prints when it is done, for `rich.console.Console.print`.

    The best points of a search, the summary without intervals, the ratios with intervals; several
    runtimes, throughput offline and layers if they were measured; footnotes, and warnings with their remedies. The
    report has everything else.
    """
    ratios = _compact(ratio_table(record))
    scores = _with_axes(summary_table(record), record)
    leading = ((search(record), True), (scores, False), (ratios, True), (runtimes(record), True))
    return _Tables((*leading, (offline(record), True), (time_by_layer(record), False)), record)


def one_table(table: Table) -> "RenderableType":
    """Return one table with its intervals and footnotes, for `rich.console.Console.print`."""
    return _Tables(((table, True),))


@dataclass(frozen=True)
class _Tables:
    """Renders tables, each with or without intervals, and a record's warnings for the console's width and colours."""

    tables: "tuple[tuple[Table, bool], ...]"
    record: RunRecord | None = None

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        bare = console.color_system is None
        for whole, intervals in self.tables:
            table = whole if self.record is None else shortened(whole, self.record, _MAX_ROWS, _FEW_ROWS)
            if table.rows:
                yield _drawn(table, intervals=intervals, bare=bare, width=options.max_width)
                yield from _below(table, bare=bare)
        yield from _warnings(self.record) if self.record else ()


def _compact(ratios: Table) -> Table:
    """Return the ratios for 100 columns: a single teacher in the title, energy in place of the training time."""
    heads = [column.head for column in ratios.columns]
    teachers = {row.cells[1].text for row in ratios.rows}
    single = len(teachers) == 1
    dropped = {*(["Teacher"] if single else []), *(["Training time"] if "Energy ratio" in heads else [])}
    # The summary above shows the energy of a whole batch.
    at = ", energy ratio at batch 1" if "Energy ratio" in heads else ""
    kept = [index for index, head in enumerate(heads) if head not in dropped]
    return ratios.select(kept, title=f"{f'Compared with {next(iter(teachers))}' if single else ratios.title}{at}")


def _with_axes(summary: Table, record: RunRecord) -> Table:
    """Return the summary with the axes of latency and energy in its title."""
    metered = any(m.value is not None for m in energies(record, "energy_run_j"))
    energy = f"; energy at batch {run_batch(record)}" if metered else ""
    return replace(summary, title=f"{summary.title}{format_axes(headline(record), ', latency at ')}{energy}")


def _drawn(table: Table, *, intervals: bool, bare: bool, width: int) -> "RichTable":
    """Return a table of rows; where the terminal is too narrow for whole numbers, each row is a list of its own."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text as RichText

    beside = width >= 20 * len(table.columns)
    widths = column_widths(table, width, intervals=intervals, beside=beside)
    if widths is None and len(table.columns) > 1:
        return _as_lists(table, intervals=intervals, bare=bare)
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left")
    drawn.title, drawn.title_style = RichText(_plain(table.title)), "bold"
    for index, column in enumerate(table.columns):
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        fixed = None if widths is None else widths[index]
        drawn.add_column(RichText(one_line(column.head)), justify=justify, overflow="fold", width=fixed)
    for row in table.rows:
        drawn.add_row(*(_cell(cell, intervals, bare, beside=beside) for cell in row.cells))
    return drawn


def _as_lists(table: Table, *, intervals: bool, bare: bool) -> "RichTable":
    """Return a line for each cell below the row's first one: head and number."""
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text as RichText

    drawn = RichTable(box=None, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left", show_header=False)
    drawn.title, drawn.title_style = RichText(_plain(table.title)), "bold"
    drawn.add_column(overflow="fold")
    drawn.add_column(overflow="fold")
    drawn.add_row()
    for row in table.rows:
        drawn.add_row(RichText(one_line(table.columns[0].head)), _cell(row.cells[0], intervals, bare, beside=True))
        for column, cell in zip(table.columns[1:], row.cells[1:], strict=True):
            head = Padding(RichText(one_line(column.head)), (0, 0, 0, 2))
            drawn.add_row(head, _cell(cell, intervals, bare, beside=True))
        drawn.add_row()
    return drawn


def _cell(cell: Cell, intervals: bool, bare: bool, *, beside: bool) -> "RenderableType":
    from rich.text import Text as RichText

    if isinstance(cell, Text):
        return RichText(one_line(cell.text), style="cyan") if cell.code else RichText(_plain(cell.text))
    drawn = RichText(shown_text(cell), style="bold" if cell.best else "dim" if cell.value is None else "")
    if cell.best and bare:
        drawn.append(_BEST)
    if intervals and cell.interval_text:
        drawn.append(f"{' ' if beside else chr(10)}{cell.interval_text}", style="dim not bold")
    return drawn


def _plain(text: str) -> str:
    """Return text on one line, without the backticks of code spans."""
    return one_line(without_marks(text))


def _below(table: Table, *, bare: bool) -> "Iterator[RenderableType]":
    from rich.text import Text as RichText

    marks = [f"{Number(str, mark=number).superscript} {_plain(text)}" for number, text in enumerate(table.footnotes, 1)]
    starred = any(isinstance(cell, Number) and cell.best for row in table.rows for cell in row.cells)
    lines = [
        *([f"{table.left_out:,} more rows are not shown; record.json has all numbers"] if table.left_out else []),
        *marks,
        *([f"{_BEST} best of the students"] if bare and starred else []),
    ]
    if lines:
        yield RichText("\n".join(lines), style="dim")
        yield RichText()


def _warnings(record: RunRecord) -> "Iterator[RenderableType]":
    from rich.text import Text as RichText

    for warning in grouped_warnings(record):
        line = RichText()
        for reason in warning.reasons:
            models = ", ".join(reason.named) + (f" and {reason.others:,} more" if reason.others else "")
            text = one_line(f"{models}: {reason.message}" if models else reason.message)
            line.append("warning: ", style="yellow").append(f"{text}\n")
        line.append(f"  {one_line(warning.remedy)}" if warning.remedy else "", style="dim")
        line.rstrip()
        yield line
