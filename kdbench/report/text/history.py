"""A history as text: a table for each series, with its changes, and what they come to in a sentence."""

from collections.abc import Callable

from kdbench import units
from kdbench.report.axes import format_axes
from kdbench.report.cells import Cell, Number, Text, bracketed
from kdbench.report.figures.drawing import Drawing
from kdbench.report.render import markdown
from kdbench.report.table import Column, Row, Table, finished
from kdbench.results.histories import Change, History, Point, Series
from kdbench.results.metrics import metric as declared

_COMMIT = 9  # characters of a commit that are shown
_HASH = 8  # characters of a test set's hash that are shown
_BETTER = {True: ", better", False: ", worse", None: ""}


def series_table(series: Series) -> Table:
    """Return the points of a series, oldest first, a change beside the first point after it."""
    marks = {place: f"onnxruntime {versions}" for place, versions in series.runtimes.items()}
    marks |= {change.at: change_text(series, change) for change in series.changes}
    metric = declared(series.metric)
    columns = (
        Column("Taken", numeric=False),
        Column("Commit", numeric=False),
        Column("Run", numeric=False),
        Column(metric.title, metric.higher_is_better, unit=metric.unit),
        Column("Change", numeric=False),
    )
    rows = []
    for place, point in enumerate(series.points):
        cells: tuple[Cell, ...] = (Text(_minute(point)), Text(commit(point)), Text(point.run), _number(series, point))
        rows.append(Row((*cells, Text(marks.get(place, "")))))
    return finished(title(series), columns, rows, [sentence(series)])


def title(series: Series) -> str:
    """Say what a series is of: metric, model, teacher, study, test set, axes, machine."""
    against = f" of `{series.teacher}` over" if series.teacher else " of"
    machine = f"; {series.machine}" if series.machine else ""
    study = f" in {series.study}" if series.study else ""
    scored = f", test set {series.test_set[:_HASH]}" if series.test_set else ""
    what = f"{declared(series.metric).title}{against} `{series.model}`{study}"
    return f"{what}{scored}{format_axes(series.axes, ', ')}{machine}"


def sentence(series: Series) -> str:
    """Say in a sentence what became of a series."""
    if series.note:
        return f"Changes were not looked for: {series.note}."
    if not series.changes:
        scatter = f" beyond a scatter of {_scatter(series)}" if series.scatter else ""
        return f"No change{scatter} in {_points(series.counted)}."
    told = [
        f"{_minute(series.points[change.at])[:10]} at {commit(series.points[change.at])}: {change_text(series, change)}"
        for change in series.changes
    ]
    count = f"{len(told)} change{'s' if len(told) > 1 else ''} in {_points(series.counted)}"
    return f"{count}: {'; '.join(told)}."


def change_text(series: Series, change: Change) -> str:
    """Write a change, with the versions of onnxruntime where they differ on both sides."""
    runtime = f" (onnxruntime {change.runtime})" if change.runtime else ""
    return f"{size_text(series, change)}{runtime}"


def size_text(series: Series, change: Change) -> str:
    """Write how large a change is, and whether it is for the better: `+12.0 % [+9.1, +15.0], worse`."""
    write = _writer(series)
    certain = change.interval.low == change.interval.high
    interval = "" if certain else f" {bracketed(change.change, change.interval, write)}"
    return f"{write(change.change)}{interval}{_BETTER[change.better]}"


def commit(point: Point) -> str:
    """Write a point's commit, and whether there were local changes."""
    return f"{short_commit(point) or 'no commit'}{' (changed)' if point.dirty else ''}"


def short_commit(point: Point) -> str:
    """Write a point's commit alone; nothing where none is known."""
    return (point.commit or "")[:_COMMIT]


def render(history: History, drawings: list[Drawing]) -> str:
    """Return a history as Markdown, each series with its figure, if there is one by its place in `drawings`."""
    parts = ["# History", f"{_of_records(history)}."]
    for place, series in enumerate(history.series):
        table = series_table(series)
        parts += [f"## {markdown.prose(table.title)}", markdown.table(table)]
        if place < len(drawings):
            drawing = drawings[place]
            parts.append(f"![{markdown.prose(drawing.title)}](figures/{drawing.name}.svg)")
    if history.notes:
        parts += ["## Left out", "\n".join(f"- {markdown.prose(note)}" for note in history.notes)]
    parts += ["## How to read it", "\n".join(f"- {markdown.prose(note)}" for note in NOTES)]
    return "\n\n".join(parts) + "\n"


NOTES = (
    "`[low, high]` is a 95 % interval: of a number as its record has it, of a change for the means on both its sides.",
    (
        "A change is a step between two levels that hold for two points or more, and more than the points' scatter: "
        "than their own intervals say and, for times on a virtual machine, than runs differ there that differ in "
        "nothing. Of series without any change, at most about one in twenty shows one."
    ),
    "Numbers that are missing, unstable or estimated are shown, and not looked at for changes.",
    "Another machine begins another series of what depends on the machine, other test data of what is scored on it.",
)


def _of_records(history: History) -> str:
    series = len(history.series)
    return f"{history.records} record{'s' * (history.records != 1)}, {series} series"


def _number(series: Series, point: Point) -> Number:
    write = declared(series.metric).text
    aside = "not counted" if point.value is not None and point.reason else ""
    return Number(write, point.value, point.interval, reason=point.reason, aside=aside)


def _minute(point: Point) -> str:
    return point.created[:16].replace("T", " ")


def _points(count: int) -> str:
    return f"{count} point{'s' if count != 1 else ''}"


def _writer(series: Series) -> Callable[[float], str]:
    """Return how a change is written: a share of the old number, points, or the metric's own unit with a sign."""
    if series.relative:
        return units.change
    if series.unit == "share":
        return lambda change: f"{units.points(100 * change)} points"
    if series.unit == "points":
        return lambda change: f"{units.points(change)} points"
    text = declared(series.metric).text
    return lambda change: f"{'+' if change > 0 else ''}{text(change)}"


def _scatter(series: Series) -> str:
    if series.relative:
        return units.percent(series.scatter)
    return _writer(series)(series.scatter).removeprefix("+")
