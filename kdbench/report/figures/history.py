"""A series of numbers over records: intervals, levels and the changes between them."""

import re
from typing import TYPE_CHECKING

from kdbench.characters import one_line
from kdbench.report.figures.drawing import COLOURS, GREY, Drawing, canvas, error_bar, short
from kdbench.results.histories import Change, Series
from kdbench.results.metrics import metric as declared

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELS = 24  # commits that fit on the axis
_LINES = 3  # of text above the points
_BETTER = {True: COLOURS[3], False: COLOURS[2], None: COLOURS[4]}


def draw_series(series: Series, place: int, title: str, labels: list[str], changes: list[str]) -> Drawing:
    """Draw a series, its points evenly spaced in order.

    `place` is the number of the series in its history, from 1: several may have the same metric and model. `labels`
    are the texts of the points, below the axis; `changes` the texts of the changes.
    """
    with canvas(9, 3.6) as figure:
        axes = figure.subplots()
        _points(series, axes)
        for level in series.levels:
            axes.plot([level.first - 0.4, level.last + 0.4], [level.value] * 2, color=COLOURS[5], lw=2.2, zorder=1)
        for start in series.runtimes:
            axes.axvline(start - 0.5, color=GREY, ls=":", lw=1.2, zorder=1)
        for index, (change, text) in enumerate(zip(series.changes, changes, strict=True)):
            _mark(change, text, index, len(series.points), axes)
        _scales(series, labels, axes)
        axes.set_title(one_line(title.replace("`", "")), loc="left")
    name = re.sub(r"[^A-Za-z0-9_]+", "-", f"{place}-{series.metric}-{series.model}").strip("-")
    return Drawing.of(
        figure,
        f"history-{name}",
        title,
        "Points are records in order of time, bars their intervals; hollow points are not used to detect changes. "
        "Horizontal lines are levels, dashed lines changes, dotted lines another version of onnxruntime.",
    )


def _mark(change: Change, text: str, index: int, count: int, axes: "Axes") -> None:
    """Draw a change and its text on the side with more room; texts take turns on a few lines."""
    at, colour = change.at - 0.5, _BETTER[change.better]
    axes.axvline(at, color=colour, ls="--", lw=1.2, zorder=1)
    late = at > count / 2
    note = axes.annotate(
        one_line(text),
        (at, 1.0),
        (-4 if late else 4, -2 - 13 * (index % _LINES)),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if late else "left",
        va="top",
        color=colour,
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8},
    )
    note.set_in_layout(False)


def _points(series: Series, axes: "Axes") -> None:
    for place, point in enumerate(series.points):
        if point.value is None:
            axes.axvspan(place - 0.3, place + 0.3, color=GREY, alpha=0.12, lw=0)
            continue
        if bars := error_bar(point.value, point.interval):
            axes.errorbar([place], [point.value], bars, color=COLOURS[1], capsize=2, lw=0.9, zorder=2)
        face = COLOURS[1] if point.counts else "white"
        axes.plot([place], [point.value], "o", ms=5, color=COLOURS[1], markerfacecolor=face, zorder=3)


def _scales(series: Series, labels: list[str], axes: "Axes") -> None:
    count = len(series.points)
    every = -(-count // _LABELS)
    shown = [short(label) for label in labels[::every]]
    axes.set_xticks(range(0, count, every), shown, rotation=40, ha="right", fontsize=8)
    axes.set_xlim(-0.7, count - 0.3)
    write = declared(series.metric).text
    axes.yaxis.set_major_formatter(lambda value, _: write(value))
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.3)
