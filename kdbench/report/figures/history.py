"""A series of numbers over records: intervals, levels and the changes between them."""

import re
from collections.abc import Iterable, Sequence
from math import log, nan
from typing import TYPE_CHECKING

from kdbench.characters import one_line
from kdbench.report.code_spans import without_marks
from kdbench.report.figures.drawing import COLOURS, GREY, Drawing, canvas, draw_intervals, short
from kdbench.results.histories import Change, Series
from kdbench.results.metrics import metric as declared

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELS = 24  # commits that fit on the axis
_LINES = 3  # of text above the points
_TEXTS = 24  # changes that fit above the points, with a text each
_SMALL_POINTS_FROM = 150  # points, from which they are drawn small
_BETTER = {True: COLOURS[3], False: COLOURS[2], None: COLOURS[4]}


def draw_series(series: Series, number: int, title: str, labels: list[str], changes: list[str]) -> Drawing:
    """Draw a series, its points evenly spaced in order.

    `number` is that of the series in its history, from 1: several may have the same metric and model. `labels`
    are the texts of the points, below the axis; `changes` the texts of the changes.
    """
    with canvas(9, 3.6) as figure:
        axes = figure.subplots()
        _points(series, axes)
        ends = [((level.first - 0.4, level.last + 0.4), (level.value, level.value)) for level in series.levels]
        axes.plot(*_joined(ends), color=COLOURS[5], lw=2.2, zorder=1)
        _verticals(series.runtimes, axes, GREY, ":")
        for better, colour in _BETTER.items():
            _verticals((change.at for change in series.changes if change.better is better), axes, colour, "--")
        texts = sorted(zip(series.changes, changes, strict=True), key=lambda item: _size(item[0], series), reverse=True)
        shown = sorted(texts[:_TEXTS], key=lambda item: item[0].at)
        for index, (change, text) in enumerate(shown):
            _write(change, text, index, len(series.points), axes)
        _scales(series, labels, axes)
        axes.set_title(one_line(without_marks(title)), loc="left")
    name = re.sub(r"[^A-Za-z0-9_]+", "-", f"{number}-{series.metric}-{series.model}").strip("-")
    return Drawing.of(
        figure,
        f"history-{name}",
        title,
        "Points are records in order of time, bars their intervals; hollow points are not used to detect changes. "
        "Horizontal lines are levels, dashed lines changes, dotted lines another version of onnxruntime."
        f"{_left_out(len(series.changes) - len(shown))}",
    )


def _left_out(count: int) -> str:
    return f" The table describes {count} more, smaller changes." if count else ""


def _size(change: Change, series: Series) -> float:
    return abs(log(change.change)) if series.relative else abs(change.change)


def _write(change: Change, text: str, index: int, count: int, axes: "Axes") -> None:
    """Write the text of a change on the side with more room; texts take turns on a few lines."""
    at = change.at - 0.5
    late = at > count / 2
    note = axes.annotate(
        one_line(text),
        (at, 1.0),
        (-4 if late else 4, -2 - 13 * (index % _LINES)),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if late else "left",
        va="top",
        color=_BETTER[change.better],
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8},
    )
    note.set_in_layout(False)


def _joined(lines: Iterable[tuple[Sequence[float], Sequence[float]]]) -> tuple[list[float], list[float]]:
    """Return separate lines, each its x and its y, as one with gaps: thousands of them are drawn as fast as one."""
    xs: list[float] = []
    ys: list[float] = []
    for x, y in lines:
        xs += [*x, nan]
        ys += [*y, nan]
    return xs, ys


def _verticals(places: Iterable[int], axes: "Axes", colour: str, dashes: str) -> None:
    """Draw lines over the whole height, each before the point at its place."""
    xs, ys = _joined(((place - 0.5, place - 0.5), (0, 1)) for place in places)
    if xs:
        axes.plot(xs, ys, dashes, color=colour, lw=1.2, zorder=1, transform=axes.get_xaxis_transform())


def _points(series: Series, axes: "Axes") -> None:
    """Draw the points with their intervals, and the gaps, with one artist for each kind."""
    from matplotlib.collections import PolyCollection

    gaps = [place for place, point in enumerate(series.points) if point.value is None]
    bands = [[(x - 0.3, 0), (x - 0.3, 1), (x + 0.3, 1), (x + 0.3, 0)] for x in gaps]
    shaded = PolyCollection(bands, color=GREY, alpha=0.12, lw=0, transform=axes.get_xaxis_transform())
    axes.add_collection(shaded, autolim=False)
    known = [(place, point.value, point) for place, point in enumerate(series.points) if point.value is not None]
    size, cap, bars = (5.0, 2.0, COLOURS[1]) if len(series.points) < _SMALL_POINTS_FROM else (2.0, 0.0, COLOURS[6])
    draw_intervals(axes, ((x, y, point.interval) for x, y, point in known), bars, width=0.9, cap=cap)
    for counts, fill_colour in ((True, COLOURS[1]), (False, "white")):
        kind = [(x, y) for x, y, point in known if point.counts is counts]
        xs, ys = [x for x, _ in kind], [y for _, y in kind]
        axes.plot(xs, ys, "o", ms=size, color=COLOURS[1], markerfacecolor=fill_colour, zorder=3)


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
