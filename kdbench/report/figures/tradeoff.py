"""Accuracy against latency: which models are worth their time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench import units
from kdbench.records import RunRecord
from kdbench.report.axes import headline, in_words
from kdbench.report.cells import Number
from kdbench.report.figures.drawing import GREY, Drawing, canvas, error_bar, look, to_svg
from kdbench.report.figures.labels import place
from kdbench.report.subjects import number, subjects

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class _Point:
    """A model in the plane: time of a call against accuracy."""

    label: str
    index: int
    latency: Number
    top1: Number

    @property
    def xy(self) -> tuple[float, float]:
        """Latency in nanoseconds, accuracy in per cent."""
        return self.latency.value or 0.0, 100 * (self.top1.value or 0.0)

    @property
    def bars(self) -> list[list[tuple[float, float]]]:
        """The error bars, as paths."""
        x, y = self.xy
        time, share = self.latency.interval, self.top1.interval
        return [
            *([[(time.low, y), (time.high, y)]] if time else []),
            *([[(x, 100 * share.low), (x, 100 * share.high)]] if share else []),
        ]


def accuracy_latency(record: RunRecord) -> Drawing | None:
    """Draw top-1 over mean latency with intervals and the Pareto front; None with fewer than two such models."""
    axes_taken = headline(record)
    points = [
        _Point(subject.label, index, latency, top1)
        for index, subject in enumerate(subjects(record))
        if (latency := number(record, subject, "latency_mean_ns", axes_taken)).value is not None
        if (top1 := number(record, subject, "top1")).value is not None
    ]
    if len(points) < 2:
        return None
    with canvas(8, 4.8) as figure:
        axes = figure.subplots()
        for point in points:
            _draw_point(axes, point)
        front = pareto_front([point.xy for point in points])
        axes.plot(*zip(*front, strict=True), color=GREY, lw=1, ls="--", zorder=1)
        axes.set_xscale("log")
        _time_ticks(axes)
        axes.set_xlabel(f"mean latency of one call{in_words(axes_taken, ', ')} (log scale)")
        axes.set_ylabel("top-1 accuracy, %")
        axes.margins(0.12, 0.15)
        labels = [(point.label, point.xy, look(point.index)[0]) for point in points]
        place(figure, axes, labels, [front, *(bar for point in points for bar in point.bars)])
        svg = to_svg(figure)
    return Drawing(
        "accuracy_latency",
        "Accuracy against latency",
        "Up and to the left is better. Bars are intervals; the dashed line joins the models that no other beats in "
        "both. A hollow point is unstable.",
        svg,
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (time, accuracy) that no other beats in one without losing in the other, by time."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def _draw_point(axes: "Axes", point: _Point) -> None:
    colour, marker, _ = look(point.index)
    x, y = point.xy
    time, share = point.latency.interval, point.top1.interval
    hollow = "unstable" in {point.latency.status, point.top1.status}
    axes.errorbar(
        x,
        y,
        xerr=error_bar(x, time.low, time.high) if time else None,
        yerr=error_bar(y, 100 * share.low, 100 * share.high) if share else None,
        fmt=marker,
        color=colour,
        markerfacecolor="white" if hollow else colour,
        markersize=7,
        elinewidth=1.2,
        capsize=2.5,
        zorder=3,
    )


def _time_ticks(axes: "Axes") -> None:
    """Label a logarithmic time axis at 1, 2, 5, 10 … in ns, µs, ms or s."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: re.sub(r"\.0+ ", " ", units.time(value))))
    axes.xaxis.set_minor_formatter(NullFormatter())
