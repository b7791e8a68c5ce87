"""Report styles, one file each: a record's numbers in the layout of a published study's tables.

A style registers a function from a record to its `Layout` in `STYLES`. It imports `tables` and `figures`; only
`kdbench.report` looks styles up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kdbench.errors import InputError
from kdbench.registry import Registry
from kdbench.report.figures import Drawing
from kdbench.report.table import Table
from kdbench.results.records import RunRecord

Figure = Callable[[RunRecord], Drawing | None]


@dataclass(frozen=True)
class Layout:
    """The tables of a study and the figures that belong to them, drawn only on demand.

    `after` names the study: authors and title.
    """

    after: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...] = ()


Style = Callable[[RunRecord], Layout]
"""Lays out a record. Raises InputError, with a hint at what to run, for a record without the study's numbers."""

STYLES: Registry[Style] = Registry("report style", package="kdbench.report.styles", group="kdbench.report_styles")


def lay_out(record: RunRecord, name: str) -> Layout:
    """Return a record in the style called `name`.

    Raises InputError for an unknown style, and for one that does not apply: what it needs, and which styles apply.
    """
    style = STYLES.get(name)
    try:
        return style(record)
    except InputError as error:
        suited = [other for other, candidate in STYLES if candidate is not style and _applies(candidate, record)]
        also = f"; styles that apply to this run: {', '.join(suited)}" if suited else ""
        raise InputError(f"style {name} does not apply: {error.message}", f"{error.hint}{also}") from error


def shown(tables: Iterable[Table]) -> tuple[Table, ...]:
    """Return the tables with content."""
    return tuple(table for table in tables if table.shown)


def _applies(style: Style, record: RunRecord) -> bool:
    try:
        style(record)
    except InputError:
        return False
    return True
