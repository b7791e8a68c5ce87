"""Throughput against batch: how far larger batches pay."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench.report.axes import in_words
from kdbench.report.figures.counted import HOLLOW, draw_counted
from kdbench.report.figures.drawing import Drawing, canvas, keep_in_sight, legend_below, log_ticks, to_svg
from kdbench.report.offline import by_batch, settings
from kdbench.report.subjects import subjects
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kdbench.results.records import Axes as Taken


def throughput(record: RunRecord) -> Drawing | None:
    """Draw samples a second over batch, at the first thread count; None unless some model was called with several."""
    taken = next(iter(settings(record)), None)
    if taken is None:
        return None
    tried = {subject.label: by_batch(record, subject, taken) for subject in subjects(record)}
    if not any(len(rates) > 1 for rates in tried.values()):
        return None
    with canvas(8, 4.4) as figure:
        axes = figure.subplots()
        shown = []
        for index, (label, rates) in enumerate(tried.items()):
            shown += draw_counted(axes, rates, label, index)
        _dress(axes, shown, taken)
        legend_below(figure, *axes.get_legend_handles_labels())
        svg = to_svg(figure)
    hollow = any(m.value is not None and m.status == "unstable" for rates in tried.values() for m in rates.values())
    return Drawing(
        "throughput",
        "Throughput against batch",
        "Higher is better. Where a curve is level, a larger batch costs latency and memory and brings nothing. Bars "
        f"are intervals.{HOLLOW if hollow else ''}",
        svg,
    )


def _dress(axes: "Axes", shown: Sequence[float], taken: "Taken") -> None:
    from matplotlib.ticker import FuncFormatter

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    keep_in_sight(axes.yaxis, shown)
    log_ticks(axes.yaxis, "{:,g}".format)
    where = {key: value for key, value in taken.items() if key != "mode"}
    axes.set_xlabel(f"batch{in_words(where, ', at ')} (log scale)")
    axes.set_ylabel("samples per second (log scale)")
