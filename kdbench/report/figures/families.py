"""Sweeps of a recipe: accuracy, and how far the student follows its teacher, along the axis with the most values."""

from typing import TYPE_CHECKING

from kdbench.report.families import Family, Value, families, is_number
from kdbench.report.figures.drawing import Drawing, canvas, error_bar, look, to_svg
from kdbench.report.subjects import ModelGroup, number
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = (("top1", "Top-1, %"), ("agreement", "agreement with the teacher, %"))
_MOST = 8  # sweeps that one figure shows: more would not be read
_RATIO = 20  # of the largest value to the smallest, from which an axis is logarithmic


def sweeps(record: RunRecord) -> Drawing | None:
    """Draw every sweep: a row of panels each, one line for each combination of the other axes."""
    shown = families(record)[:_MOST]
    if not shown:
        return None
    panels = [(metric, title) for metric, title in _PANELS if any(_known(record, family, metric) for family in shown)]
    if not panels:
        return None
    with canvas(4.5 * len(panels), 2.9 * len(shown)) as figure:
        grid = figure.subplots(len(shown), len(panels), squeeze=False)
        for family, row in zip(shown, grid, strict=True):
            for (metric, title), axes in zip(panels, row, strict=True):
                if not _known(record, family, metric):  # teachers follow nobody
                    axes.set_visible(False)
                    continue
                _draw(record, family, metric, axes)
                axes.set_ylabel(title)
            row[0].set_title(family.name, loc="left")
        svg = to_svg(figure)
    left_out = len(families(record)) - len(shown)
    return Drawing(
        "sweeps",
        "Sweeps",
        "Each row is one sweep of the recipe; bars are 95 % intervals."
        + (f" {left_out} more are in the table alone." if left_out else ""),
        svg,
    )


def _known(record: RunRecord, family: Family, metric: str) -> bool:
    return any(number(record, member, metric).value is not None for member in family.members)


def _draw(record: RunRecord, family: Family, metric: str, axes: "Axes") -> None:
    along = family.main_axis
    values = family.axes[along]
    numeric = all(is_number(value) for value in values)
    places: dict[Value, float] = {
        value: float(value) if numeric else float(place) for place, value in enumerate(values)
    }
    for index, (label, members) in enumerate(_lines(family, along).items()):
        colour, marker, dashes = look(index + 1)
        points = [(places[family.point(m)[along]], number(record, m, metric)) for m in members]
        drawn = sorted(((x, cell) for x, cell in points if cell.value is not None), key=lambda point: point[0])
        xs = [x for x, _ in drawn]
        ys = [100 * (cell.value or 0.0) for _, cell in drawn]
        # Between categories there is nothing for a line to lead through.
        axes.plot(xs, ys, ls=dashes if numeric else "none", color=colour, marker=marker, ms=4, lw=1.4, label=label)
        for x, cell in drawn:
            if cell.interval is not None and cell.value is not None:
                low, high = error_bar(cell.value, cell.interval.low, cell.interval.high)
                axes.errorbar(
                    [x], [100 * cell.value], [[100 * low[0]], [100 * high[0]]], color=colour, capsize=2, lw=0.8
                )
        if label:
            axes.legend(fontsize=8)
    axes.set_xlabel(along)
    ticks = list(places.values())
    if numeric and min(ticks) > 0 and max(ticks) / min(ticks) >= _RATIO:
        axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{value:g}" if numeric else str(value) for value in values])
    axes.minorticks_off()
    if not numeric:
        axes.tick_params(axis="x", rotation=20)


def _lines(family: Family, along: str) -> dict[str, list[ModelGroup]]:
    """Return the members by their point on the other axes, as words."""
    lines: dict[str, list[ModelGroup]] = {}
    for member in family.members:
        others = ", ".join(f"{axis} {value}" for axis, value in family.point(member).items() if axis != along)
        lines.setdefault(others, []).append(member)
    return lines
