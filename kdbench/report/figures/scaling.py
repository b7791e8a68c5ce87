"""How latency scales: with threads at batch 1, and with the batch at the headline's threads."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench import units
from kdbench.report.axes import configurations, headline, in_words
from kdbench.report.figures.counted import HOLLOW, draw_counted
from kdbench.report.figures.drawing import Drawing, canvas, keep_in_sight, legend_below, log_ticks, to_svg
from kdbench.report.subjects import number, subjects
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LATENCY = ("latency_p50_ns", "median latency of one call")
_RATE = ("throughput_per_s", "samples per second")
_FEWEST_BATCHES = 3  # two, which every run has, are told by the tables


def latency_threads(record: RunRecord) -> Drawing | None:
    """Draw the median latency over threads; None unless several thread counts were measured."""
    values = _values(record, "threads")
    if len(values) < 2:
        return None
    svg, hollow = _drawn(record, "threads", values, [_LATENCY])
    return Drawing(
        "latency_threads",
        "Latency against threads",
        "Lower is better; bars are intervals. Where a curve is level, or rises, a model is too small for more threads."
        f"{hollow}",
        svg,
    )


def latency_batch(record: RunRecord) -> Drawing | None:
    """Draw median latency and throughput over the batch; None unless three batches or more were measured."""
    values = _values(record, "batch")
    if len(values) < _FEWEST_BATCHES:
        return None
    svg, hollow = _drawn(record, "batch", values, [_LATENCY, _RATE])
    return Drawing(
        "latency_batch",
        "Latency and throughput against batch",
        "A larger batch pays as long as the right-hand curve rises; what it costs each call is on the left. Bars are "
        f"intervals.{hollow}",
        svg,
    )


def _values(record: RunRecord, along: str) -> list[int]:
    """Return the values of `along` at which latency was taken, all else as in the headline."""
    base = {key: value for key, value in headline(record).items() if key != along}
    rest = [(axes.get(along), {key: v for key, v in axes.items() if key != along}) for axes in configurations(record)]
    return sorted({value for value, others in rest if others == base and isinstance(value, int)})


def _drawn(record: RunRecord, along: str, values: Sequence[int], panels: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return the figure, and what its caption must say of points that are unstable."""
    base = headline(record)
    where = {key: value for key, value in base.items() if key != along}
    hollow = False
    with canvas(8 if len(panels) == 1 else 9, 4.4) as figure:
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (metric, title) in zip(row, panels, strict=True):
            shown = []
            for index, subject in enumerate(subjects(record)):
                cells = {value: number(record, subject, metric, {**base, along: value}) for value in values}
                shown += draw_counted(axes, cells, subject.label, index)
                hollow |= any(cell.value is not None and cell.status == "unstable" for cell in cells.values())
            _dress(axes, values, shown, metric)
            axes.set_xlabel(f"{along}{in_words(where, ', at ')} (log scale)" if len(panels) == 1 else along)
            axes.set_ylabel(f"{title} (log scale)")
        if len(panels) > 1:
            figure.suptitle(in_words(where), fontsize=10)
        legend_below(figure, *row[0].get_legend_handles_labels())
        return to_svg(figure), HOLLOW if hollow else ""


def _dress(axes: "Axes", values: Sequence[int], shown: Sequence[float], metric: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(values, [f"{value}" for value in values])
    axes.minorticks_off()
    keep_in_sight(axes.yaxis, shown)
    log_ticks(axes.yaxis, units.time if metric.endswith("_ns") else "{:,g}".format)
