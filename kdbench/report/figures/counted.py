"""A number over counted steps, threads or batches: what the figures of both draw of each model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kdbench.report.cells import Number
from kdbench.report.figures.drawing import error_bar, look
from kdbench.results.records import Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOLLOW = " A hollow point is unstable."


def draw_counted(axes: "Axes", cells: Mapping[int, Number | Measurement], label: str, index: int) -> list[float]:
    """Draw the known of a model's numbers over what was counted, with their intervals, and return them.

    Unstable ones are hollow; `index` is the model's place in the tables.
    """
    colour, marker, dashes = look(index)
    known = {count: cell for count, cell in cells.items() if cell.value is not None}
    values = [cell.value or 0.0 for cell in known.values()]
    if not known:
        return []
    axes.plot(list(known), values, dashes, color=colour, marker=marker, label=label, lw=1.4)
    for (count, cell), value in zip(known.items(), values, strict=True):
        if cell.interval is not None:
            bar = error_bar(value, cell.interval.low, cell.interval.high)
            axes.errorbar(count, value, yerr=bar, fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5)
        if cell.status == "unstable":
            axes.plot(count, value, marker, color=colour, markerfacecolor="white", zorder=3)
    return values
