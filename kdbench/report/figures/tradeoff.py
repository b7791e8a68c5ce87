"""Accuracy, or a regression's error, against cost in time, bytes or joules: which models are worth their cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench import units
from kdbench.characters import one_line
from kdbench.report.axes import format_axes, headline
from kdbench.report.cells import Number
from kdbench.report.figures.drawing import (
    GREY,
    GRID,
    Drawing,
    canvas,
    draw_intervals,
    error_bar,
    legend_below,
    log_ticks,
    look,
    short,
)
from kdbench.report.figures.labels import place
from kdbench.report.figures.selection import FEW_CURVES, MOST_CURVES, drawn_order, pareto_front
from kdbench.report.model_groups import ModelGroup, model_groups, number
from kdbench.report.scores import score_of
from kdbench.report.tables.energy import energies, source_text
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class _Point:
    """A model in the plane: cost against a score, whose values are shown times `factor`."""

    label: str
    index: int
    cost: Number
    score: Number
    factor: float = 100.0

    @property
    def xy(self) -> tuple[float, float]:
        """Cost in its base unit, accuracy in per cent."""
        return self.cost.value or 0.0, self.factor * (self.score.value or 0.0)

    @property
    def unstable(self) -> bool:
        return "unstable" in {self.cost.status, self.score.status}

    @property
    def face(self) -> str:
        """The colour inside the marker, which is hollow for an unstable cost or score."""
        return "white" if self.unstable else look(self.index)[0]

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
    at = headline(record)
    label = f"mean latency of one call{format_axes(at, ', ')}"
    return _tradeoff(record, "latency", label, units.time, lambda group: number(record, group, "latency_mean_ns", at))


def accuracy_size(record: RunRecord) -> Drawing | None:
    """Draw top-1 over the size of the model file; None with fewer than two such models, or if all are of one size."""
    cells = {group.label: number(record, group, "size_bytes") for group in model_groups(record)}
    if len({units.size(cell.value) for cell in cells.values() if cell.value is not None}) < 2:
        return None
    return _tradeoff(record, "size", "model file", units.size, lambda group: cells[group.label])


def accuracy_energy(record: RunRecord) -> Drawing | None:
    """Draw top-1 over the measured energy of one inference; None with fewer than two such models.

    Estimates are left out: a Pareto front ranks models, which estimates do not support.
    """
    metered = [m for m in energies(record, "energy_j") if m.value is not None and m.evidence == "measured"]
    if not metered:
        return None
    first = next((m for m in metered if m.axes.get("batch") == 1), metered[0])

    def of(group: ModelGroup) -> Number:
        cell = number(record, group, "energy_j", first.axes)
        return cell if cell.evidence == "measured" else Number(units.energy, reason="an estimate")

    where = {key: value for key, value in first.axes.items() if key != "scope"}
    label = f"gross energy of one inference{format_axes(where, ', ')}; {source_text(first)}"
    return _tradeoff(record, "energy", label, units.energy, of)


def _tradeoff(
    record: RunRecord, name: str, label: str, write: Callable[[float], str], cost_of: Callable[[ModelGroup], Number]
) -> Drawing | None:
    """Draw the score over a cost with a `name` for the title, a `label` for the axis and its number for each model."""
    score = score_of(record)
    points = [
        _Point(group.label, index, cost, cell, score.factor)
        for index, group in enumerate(drawn_order(record))
        if (cost := cost_of(group)).value is not None
        if (cell := number(record, group, score.metric)).value is not None
    ]
    if len(points) < 2:
        return None
    with canvas(8, 4.8) as figure:
        axes = figure.subplots()
        front = pareto_front([point.xy for point in points], higher_is_better=score.higher_is_better)
        by_rank = sorted(points, key=lambda point: point.xy not in front)
        count = len(points) if len(points) <= MOST_CURVES else FEW_CURVES
        named, others = by_rank[:count], by_rank[count:]
        for point in sorted(named, key=lambda point: point.index):
            _draw_point(axes, point)
        _draw_others(axes, others)
        axes.plot(*zip(*front, strict=True), color=GREY, lw=1, ls="--", zorder=1)
        axes.set_xscale("log")
        axes.set_xlabel(one_line(f"{label} (log scale)"))
        axes.set_ylabel(score.axis)
        axes.margins(0.12, 0.15)
        log_ticks(axes.xaxis, write, [point.xy[0] for point in points])
        _label_points(figure, axes, named, [front, *(bar for point in points for bar in point.bars)])
    side = "Up" if score.higher_is_better else "Down"
    caption = (
        f"{side} and to the left is better. Bars are intervals; the dashed line joins the models that no other model "
        f"dominates.{f' Small points are {len(others)} more models; the tables have their names.' if others else ''}"
    )
    hollow = any(point.unstable for point in points)
    title = f"{score.noun.capitalize()} against {name}"
    return Drawing.of(figure, f"{score.noun}_{name}", title, caption, hollow=hollow)


def _label_points(
    figure: "Figure", axes: "Axes", points: Sequence[_Point], lines: Sequence[Sequence[tuple[float, float]]]
) -> None:
    """Write each name next to its point, clear of `lines`, or in a legend if there is no room."""
    from matplotlib.lines import Line2D

    labels = [(short(point.label), point.xy, look(point.index)[0]) for point in points]
    left = place(figure, axes, labels, lines)
    crowded = [point for point, label in zip(points, labels, strict=True) if label in left]
    handles = [
        Line2D([], [], ls="none", color=colour, marker=marker, markerfacecolor=point.face, markersize=7)
        for point, (colour, marker, _) in ((point, look(point.index)) for point in crowded)
    ]
    if crowded:
        legend_below(figure, handles, [point.label for point in crowded])


def _draw_point(axes: "Axes", point: _Point) -> None:
    colour, marker, _ = look(point.index)
    x, y = point.xy
    yerr, xerr = error_bar(y, point.score.interval, point.factor), error_bar(x, point.cost.interval)
    axes.errorbar(x, y, yerr, xerr, marker, color=colour, mfc=point.face, ms=7, elinewidth=1.2, capsize=2.5, zorder=3)


def _draw_others(axes: "Axes", points: Sequence[_Point]) -> None:
    """Draw the points of models without a name: small, grey, behind the others."""
    if not points:
        return
    xs, ys = zip(*(point.xy for point in points), strict=True)
    axes.plot(xs, ys, ".", color=GREY, alpha=0.6, zorder=2)
    scores, costs = [point.score.interval for point in points], [point.cost.interval for point in points]
    draw_intervals(axes, zip(xs, ys, scores, strict=True), GRID, points[0].factor, width=0.8, cap=0)
    draw_intervals(axes, zip(xs, ys, costs, strict=True), GRID, across=True, width=0.8, cap=0)
