"""Accuracy, or a regression's error, against cost in time, bytes or joules: which models are worth their cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdbench.characters import one_line
from kdbench.report.cells import Number
from kdbench.report.figures.drawing import GREY, Drawing, canvas, error_bar, legend_below, log_ticks, short, style_of
from kdbench.report.figures.labels import place
from kdbench.report.figures.selection import FEW_CURVES, MAX_CURVES, drawn_order
from kdbench.report.scores import score_of
from kdbench.report.tables.planes import PlanePoint, planes
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_GREY_POINTS = " Grey ones are dominated: the table Front says by which, and whether intervals settle it."


@dataclass(frozen=True)
class _Point:
    """A model in the plane: cost against a score, whose values are shown times `factor`.

    `index` is the model's place among all that figures show. It is grey if it is `dominated`.
    """

    placed: PlanePoint
    index: int
    dominated: bool
    factor: float = 100.0

    @property
    def label(self) -> str:
        return self.placed.group.label

    @property
    def cost(self) -> Number:
        return self.placed.cost

    @property
    def score(self) -> Number:
        return self.placed.score

    @property
    def xy(self) -> tuple[float, float]:
        """Cost in its base unit, accuracy in per cent."""
        return self.cost.value or 0.0, self.factor * (self.score.value or 0.0)

    @property
    def unstable(self) -> bool:
        return "unstable" in {self.cost.status, self.score.status}

    @property
    def colour(self) -> str:
        return GREY if self.dominated else style_of(self.index)[0]

    @property
    def marker(self) -> str:
        return style_of(self.index)[1]

    @property
    def fill_colour(self) -> str:
        """The colour inside the marker, which is hollow for an unstable cost or score."""
        return "white" if self.unstable else self.colour

    @property
    def bars(self) -> list[list[tuple[float, float]]]:
        x, y = self.xy
        cost, score = self.cost.interval, self.score.interval
        return [
            *([[(cost.low, y), (cost.high, y)]] if cost else []),
            *([[(x, self.factor * score.low), (x, self.factor * score.high)]] if score else []),
        ]


def accuracy_latency(record: RunRecord) -> Drawing | None:
    """Draw top-1 over mean latency with intervals and the Pareto front; None with fewer than two such models."""
    return _tradeoff(record, "latency")


def accuracy_size(record: RunRecord) -> Drawing | None:
    """Draw top-1 over the size of the model file; None with fewer than two such models, or if all are of one size."""
    return _tradeoff(record, "size")


def accuracy_energy(record: RunRecord) -> Drawing | None:
    """Draw top-1 over the measured energy of one inference; None with fewer than two such models."""
    return _tradeoff(record, "energy")


def _tradeoff(record: RunRecord, cost: str) -> Drawing | None:
    """Draw the score over the cost of that name; None if too few models have both."""
    plane, score = planes(record).get(cost), score_of(record)
    if plane is None:
        return None
    placed = {model.group.ids: model for model in plane.models}
    points = [
        _Point(placed[group.ids], index, group.label in plane.dominated, score.factor)
        for index, group in enumerate(drawn_order(record))
        if group.ids in placed
    ]
    with canvas(8, 4.8) as figure:
        axes = figure.subplots()
        front = sorted(point.xy for point in points if not point.dominated)
        by_rank = sorted(points, key=lambda point: point.dominated)
        count = len(points) if len(points) <= MAX_CURVES else FEW_CURVES
        named, others = by_rank[:count], by_rank[count:]
        for point in sorted(named, key=lambda point: point.index):
            _draw_point(axes, point)
        _draw_others(axes, others)
        axes.plot(*zip(*front, strict=True), color=GREY, lw=1, ls="--", zorder=1)
        axes.set_xscale("log")
        axes.set_xlabel(one_line(f"{plane.label} (log scale)"))
        axes.set_ylabel(score.axis)
        axes.margins(0.12, 0.15)
        log_ticks(axes.xaxis, plane.write, [point.xy[0] for point in points])
        _label_points(figure, axes, named, [front, *(bar for point in named for bar in point.bars)])
    side = "Up" if score.higher_is_better else "Down"
    caption = (
        f"{side} and to the left is better. Bars are intervals; the dashed line joins the models that no other model "
        f"dominates.{_GREY_POINTS if plane.dominated else ''}"
        f"{f' Small points, without bars, are {len(others)} more models.' if others else ''}"
    )
    hollow = any(point.unstable for point in points)
    title = f"{score.noun.capitalize()} against {plane.name}"
    return Drawing.of(figure, f"{score.noun}_{plane.name}", title, caption, hollow=hollow)


def _label_points(
    figure: "Figure", axes: "Axes", points: Sequence[_Point], lines: Sequence[Sequence[tuple[float, float]]]
) -> None:
    """Write each name next to its point, clear of `lines`, or in a legend if there is no room."""
    from matplotlib.lines import Line2D

    labels = [(short(point.label), point.xy, point.colour) for point in points]
    unplaced = place(figure, axes, labels, lines)
    crowded = [point for point, label in zip(points, labels, strict=True) if label in unplaced]
    handles = [
        Line2D(
            [], [], ls="none", color=point.colour, marker=point.marker, markerfacecolor=point.fill_colour, markersize=7
        )
        for point in crowded
    ]
    if crowded:
        legend_below(figure, handles, [point.label for point in crowded])


def _draw_point(axes: "Axes", point: _Point) -> None:
    x, y = point.xy
    yerr, xerr = error_bar(y, point.score.interval, point.factor), error_bar(x, point.cost.interval)
    style: Any = {"color": point.colour, "mfc": point.fill_colour, "ms": 7, "elinewidth": 1.2, "capsize": 2.5}
    axes.errorbar(x, y, yerr, xerr, point.marker, zorder=2.5 if point.dominated else 3, **style)


def _draw_others(axes: "Axes", points: Sequence[_Point]) -> None:
    """Draw the points of models without a name: small, grey, behind the others."""
    if points:
        axes.plot(*zip(*(point.xy for point in points), strict=True), ".", color=GREY, alpha=0.7, zorder=2)
