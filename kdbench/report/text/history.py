"""A history as text: a table for each series with its changes, and a sentence as its summary."""

from collections.abc import Callable

from kdbench import units
from kdbench.report.axes import format_axes
from kdbench.report.cells import Number, Text, bracketed
from kdbench.report.figures.drawing import Drawing
from kdbench.report.table import Row, Table, column, finished, words
from kdbench.report.text import markdown
from kdbench.results.histories import Change, History, Point, Series
from kdbench.results.metrics import metric as declared

_COMMIT = 9  # characters of a commit that are shown
_HASH = 8  # characters of a test set's hash that are shown
_BETTER = {True: ", better", False: ", worse", None: ""}


def series_table(series: Series, newest: int | None = None) -> Table:
    """Return the points of a series, oldest first; the first point after a change shows the change.

    With `newest`, only that many last points and the first points after changes have a row.
    """
    marks = {index: f"onnxruntime {versions}" for index, versions in series.runtimes.items()}
    marks |= {change.at: change_text(series, change) for change in series.changes}
    columns = [*words("Date", "Commit", "Run"), column(series.metric), *words("Change")]
    rows = [
        Row((*map(Text, (_minute(p), commit(p), p.run)), _number(series, p), Text(marks.get(index, ""))))
        for index, p in enumerate(series.points)
        if newest is None or index >= len(series.points) - newest or index in marks
    ]
    return finished(title(series), columns, rows, [sentence(series)])


def title(series: Series) -> str:
    """Describe a series: metric, model, teacher, study, test set, axes, machine."""
    against = f" of `{series.teacher}` over" if series.teacher else " of"
    machine = f"; {series.machine}" if series.machine else ""
    study = f" in {series.study}" if series.study else ""
    scored = f", test set {series.test_set[:_HASH]}" if series.test_set else ""
    metric = f"{declared(series.metric).title}{against} `{series.model}`{study}"
    return f"{metric}{scored}{format_axes(series.axes, ', ')}{machine}"


def sentence(series: Series) -> str:
    """Summarise a series in a sentence."""
    if series.note:
        return f"Changes were not analysed: {series.note}."
    points = f"{series.counted} point{'s' if series.counted != 1 else ''}"
    if not series.changes:
        if not series.scatter:
            return f"No change in {points}."
        size = units.percent(series.scatter) if series.relative else _writer(series)(series.scatter).removeprefix("+")
        return f"No change beyond a scatter of {size} in {points}."
    changes = [
        f"{_minute(series.points[change.at])[:10]} at {commit(series.points[change.at])}: {change_text(series, change)}"
        for change in series.changes
    ]
    return f"{len(changes)} change{'s' if len(changes) > 1 else ''} in {points}: {'; '.join(changes)}."


def change_text(series: Series, change: Change) -> str:
    """Write a change, with the versions of onnxruntime if they differ."""
    runtime = f" (onnxruntime {change.runtime})" if change.runtime else ""
    return f"{size_text(series, change)}{runtime}"


def size_text(series: Series, change: Change) -> str:
    """Write the size of a change, and whether it is better or worse: `+12.0 % [+9.1, +15.0], worse`."""
    write = _writer(series)
    certain = change.interval.low == change.interval.high
    interval = "" if certain else f" {bracketed(change.change, change.interval, write)}"
    return f"{write(change.change)}{interval}{_BETTER[change.better]}"


def commit(point: Point) -> str:
    """Write a point's commit, and whether it had local changes."""
    return f"{short_commit(point) or 'no commit'}{' (changed)' if point.dirty else ''}"


def short_commit(point: Point) -> str:
    """Write a point's commit only; empty if it is not known."""
    return (point.commit or "")[:_COMMIT]


def render(history: History, drawings: list[Drawing]) -> str:
    """Return a history as Markdown, each series with the figure at its index of `drawings`, if any."""
    records = f"{history.records} record{'s' * (history.records != 1)}"
    parts = ["# History", f"{records}, {len(history.series)} series."]
    for index, series in enumerate(history.series):
        table = series_table(series)
        parts += [f"## {markdown.prose(table.title)}", markdown.table(table)]
        if index < len(drawings):
            drawing = drawings[index]
            parts.append(markdown.image(drawing.title, f"figures/{drawing.name}.svg"))
    if history.notes:
        parts += ["## Not included", "\n".join(f"- {markdown.prose(note)}" for note in history.notes)]
    parts += ["## How to read it", "\n".join(f"- {markdown.prose(note)}" for note in NOTES)]
    return "\n\n".join(parts) + "\n"


NOTES = (
    "`[low, high]` is a 95 % interval: for a value as in its record, for a change between the means on both sides.",
    (
        "A change is a step between two levels of at least two points each that exceeds the scatter of the points: "
        "their own intervals and, for times on a virtual machine, the run-to-run variation of identical runs. At most "
        "about one in twenty series without a change shows one."
    ),
    "Missing and estimated values are shown but not used to detect changes.",
    "Metrics that depend on the machine have a series per machine; metrics that depend on test data one per test set.",
)


def _number(series: Series, point: Point) -> Number:
    write = declared(series.metric).text
    aside = "not counted" if point.value is not None and point.reason else ""
    return Number(write, point.value, point.interval, reason=point.reason, aside=aside)


def _minute(point: Point) -> str:
    return point.created[:16].replace("T", " ")


def _writer(series: Series) -> Callable[[float], str]:
    """Return the function that writes a change: a share of the old value, points, or a signed value in its unit."""
    if series.relative:
        return units.change
    if series.unit == "share":
        return lambda change: f"{units.points(100 * change)} points"
    if series.unit == "points":
        return lambda change: f"{units.points(change)} points"
    text = declared(series.metric).text
    return lambda change: f"{'+' if change > 0 else ''}{text(change)}"
