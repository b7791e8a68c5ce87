"""The main effects of a sweep's axes, a panel each."""

from typing import TYPE_CHECKING

from kdbench.report.effects import AxisEffect, main_effects
from kdbench.report.figures.accuracy import set_value_axis, value_places
from kdbench.report.figures.drawing import Drawing, canvas, draw_intervals, short, style_of
from kdbench.report.scores import score_of
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_ROWS, _MAX_PANELS = 6, 4


def axis_effects(record: RunRecord) -> Drawing | None:
    """Draw the mean score along each axis of the sweeps of several axes; None without any."""
    families = main_effects(record)[:_MAX_ROWS]
    if not families:
        return None
    score = score_of(record)
    panels = min(max(len(family.axes) for family in families), _MAX_PANELS)
    with canvas(3.4 * panels, 2.7 * len(families)) as figure:
        grid = figure.subplots(len(families), panels, squeeze=False, sharey="row")
        for family, row in zip(families, grid, strict=True):
            for place, axes in enumerate(row):
                if place >= len(family.axes):
                    axes.set_visible(False)
                    continue
                _draw(axes, family.axes[place], score.factor)
            row[0].set_ylabel(score.axis)
            row[0].set_title(short(family.family.name), loc="left")
    caption = (
        "Each point is the mean over all models with that value, with equal weights for other axes; bars are intervals "
        "over the seeds. Panels of a row have the same scale: the steepest axis matters most."
    )
    return Drawing.of(figure, "axis_effects", "Along each axis", caption)


def _draw(axes: "Axes", effect: AxisEffect, factor: float) -> None:
    values = [level.value for level in effect.levels]
    places, numeric = value_places(values)
    colour, marker, dashes = style_of(1)
    drawn = sorted(((places[level.value], level) for level in effect.levels), key=lambda item: item[0])
    xs, ys = [x for x, _ in drawn], [factor * level.mean for _, level in drawn]
    axes.plot(xs, ys, color=colour, ls=dashes if numeric else "none", marker=marker, ms=4, lw=1.4)
    intervals = [level.mean_interval for _, level in drawn]
    draw_intervals(axes, zip(xs, ys, intervals, strict=True), colour, factor, width=0.8, cap=2)
    axes.set_xlabel(short(effect.axis))
    set_value_axis(axes, places, numeric=numeric)
