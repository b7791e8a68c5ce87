"""How latency and throughput scale: with threads, with the batch, and offline."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from kdbench import units
from kdbench.characters import one_line
from kdbench.report.axes import configurations, format_axes, headline
from kdbench.report.cells import Number
from kdbench.report.figures.drawing import Drawing, canvas, draw_intervals, legend_below, log_ticks, short, style_of
from kdbench.report.figures.selection import curves_of, drawn_order
from kdbench.report.model_groups import ModelGroup
from kdbench.report.numbers import number
from kdbench.report.tables.latency import by_batch, offline_axes
from kdbench.results.records import Measurement, RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LATENCY = ("latency_p50_ns", "median latency of one call")
_RATE = ("throughput_per_s", "samples per second")
_MIN_BATCHES = 3  # the tables show the two that every run has

_Points = Mapping[int, Number | Measurement]
"""A model's numbers by thread count or batch."""


def latency_threads(record: RunRecord) -> Drawing | None:
    """Draw the median latency over threads; None unless several thread counts were measured."""
    caption = (
        "Lower is better; bars are intervals. A level or rising curve shows a model that is too small for more threads."
    )
    return _draw_over(record, "threads", 2, [_LATENCY], "Latency against threads", caption)


def latency_batch(record: RunRecord) -> Drawing | None:
    """Draw median latency and throughput over the batch; None unless three batches or more were measured."""
    caption = (
        "A larger batch pays off while the throughput (right) rises; the left panel shows its cost per call. Bars are "
        "intervals."
    )
    return _draw_over(record, "batch", _MIN_BATCHES, [_LATENCY, _RATE], "Latency and throughput against batch", caption)


def throughput(record: RunRecord) -> Drawing | None:
    """Draw samples per second over the batch, at the first thread count; None unless a model has several batches."""
    from matplotlib.ticker import FuncFormatter

    at = next(iter(offline_axes(record)), None)
    if at is None:
        return None
    rates = [(index, group.label, by_batch(record, group, at)) for index, group in enumerate(drawn_order(record))]
    if not any(len(points) > 1 for *_, points in rates):
        return None
    drawn, more = curves_of(rate for rate in rates if _known(rate[-1]))
    with canvas(8, 4.4) as figure:
        axes = figure.subplots()
        curves = [_curve(axes, points, label, index) for index, label, points in drawn]
        _set_scales(axes, [value for curve in curves for value in curve], "{:,g}".format)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        where = {key: value for key, value in at.items() if key != "mode"}
        axes.set_xlabel(one_line(f"batch{format_axes(where, ', at ')} (log scale)"))
        axes.set_ylabel("samples per second (log scale)")
        legend_below(figure, *axes.get_legend_handles_labels())
    caption = (
        "Higher is better. Where a curve is level, a larger batch costs latency and memory without a gain. Bars are "
        f"intervals.{more}"
    )
    hollow = _any_unstable(points for *_, points in drawn)
    return Drawing.of(figure, "throughput", "Throughput against batch", caption, hollow=hollow)


def _draw_over(
    record: RunRecord, along: str, fewest: int, panels: Sequence[tuple[str, str]], title: str, caption: str
) -> Drawing | None:
    """Draw panels over the values of `along`, all other axes as in the headline; None below `fewest` values."""
    base = headline(record)
    where = {key: value for key, value in base.items() if key != along}
    known = [(axes.get(along), {key: v for key, v in axes.items() if key != along}) for axes in configurations(record)]
    values = sorted({value for value, others in known if others == where and isinstance(value, int)})
    if len(values) < fewest:
        return None
    numbers = [
        (index, group.label, [_over(record, group, metric, base, along, values) for metric, _ in panels])
        for index, group in enumerate(drawn_order(record))
    ]
    drawn, more = curves_of(item for item in numbers if any(map(_known, item[-1])))
    with canvas(8 if len(panels) == 1 else 9, 4.4) as figure:
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, (axes, (metric, label)) in enumerate(zip(row, panels, strict=True)):
            curves = [_curve(axes, of_panels[panel], name, index) for index, name, of_panels in drawn]
            shown = [value for curve in curves for value in curve]
            _set_scales(axes, shown, units.time if metric.endswith("_ns") else "{:,g}".format)
            axes.set_xticks(values, [f"{value}" for value in values])
            axes.xaxis.minorticks_off()
            axes.set_xlabel(
                one_line(f"{along}{format_axes(where, ', at ')} (log scale)") if len(panels) == 1 else along
            )
            axes.set_ylabel(f"{label} (log scale)")
        if len(panels) > 1:
            figure.suptitle(one_line(format_axes(where)), fontsize=10)
        legend_below(figure, *row[0].get_legend_handles_labels())
    hollow = _any_unstable(points for *_, of_panels in drawn for points in of_panels)
    return Drawing.of(figure, f"latency_{along}", title, f"{caption}{more}", hollow=hollow)


def _over(
    record: RunRecord, group: ModelGroup, metric: str, base: Mapping[str, str | int], along: str, values: Sequence[int]
) -> dict[int, Number]:
    """Return a model's numbers by the value of the axis `along`."""
    return {value: number(record, group, metric, {**base, along: value}) for value in values}


def _known(points: _Points) -> bool:
    return any(point.value is not None for point in points.values())


def _curve(axes: "Axes", points: _Points, label: str, index: int) -> list[float]:
    """Draw a model's known numbers with their intervals, unstable ones hollow, and return them.

    `index` is the model's place in the tables.
    """
    colour, marker, dashes = style_of(index)
    known = {count: point for count, point in points.items() if point.value is not None}
    values = [point.value or 0.0 for point in known.values()]
    if not known:
        return []
    axes.plot(list(known), values, dashes, color=colour, marker=marker, label=short(label), lw=1.4)
    intervals = [point.interval for point in known.values()]
    draw_intervals(axes, zip(known, values, intervals, strict=True), colour)
    unstable = {count: point.value or 0.0 for count, point in known.items() if point.status == "unstable"}
    if unstable:
        axes.plot(list(unstable), list(unstable.values()), marker, color=colour, markerfacecolor="white", zorder=3)
    return values


def _set_scales(axes: "Axes", values: Sequence[float], write: Callable[[float], str]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    log_ticks(axes.yaxis, write, values)


def _any_unstable(models: Iterable[_Points]) -> bool:
    return any(p.value is not None and p.status == "unstable" for points in models for p in points.values())
