"""Throughput against batch: how far larger batches pay."""

from typing import TYPE_CHECKING

from kdbench.records import RunRecord
from kdbench.report.axes import in_words
from kdbench.report.figures.drawing import Drawing, canvas, error_bar, log_ticks, look, to_svg
from kdbench.report.offline import by_batch, settings
from kdbench.report.subjects import Subject, subjects

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kdbench.records import Axes as Taken


def throughput(record: RunRecord) -> Drawing | None:
    """Draw samples a second over batch, at the first thread count; None unless some model was called with several."""
    taken = next(iter(settings(record)), None)
    if taken is None or not any(len(by_batch(record, subject, taken)) > 1 for subject in subjects(record)):
        return None
    with canvas(8, 4.4) as figure:
        axes = figure.subplots()
        for index, subject in enumerate(subjects(record)):
            _curve(axes, record, subject, index, taken)
        _dress(axes, taken)
        figure.legend(loc="outside lower center", ncols=4)
        svg = to_svg(figure)
    return Drawing(
        "throughput",
        "Throughput against batch",
        "Higher is better. Where a curve is level, a larger batch costs latency and memory and brings nothing. Bars "
        "are intervals.",
        svg,
    )


def _curve(axes: "Axes", record: RunRecord, subject: Subject, index: int, taken: "Taken") -> None:
    colour, marker, dashes = look(index)
    rates = {batch: m for batch, m in by_batch(record, subject, taken).items() if m.value is not None}
    values = [m.value or 0.0 for m in rates.values()]
    axes.plot(list(rates), values, dashes, color=colour, marker=marker, label=subject.label if rates else None, lw=1.4)
    for (batch, m), value in zip(rates.items(), values, strict=True):
        if m.interval is not None:
            bar = error_bar(value, m.interval.low, m.interval.high)
            axes.errorbar(batch, value, yerr=bar, fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5)


def _dress(axes: "Axes", taken: "Taken") -> None:
    from matplotlib.ticker import FuncFormatter

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    log_ticks(axes.yaxis, "{:,g}".format)
    where = {key: value for key, value in taken.items() if key != "mode"}
    axes.set_xlabel(f"batch{in_words(where, ', at ')} (log scale)")
    axes.set_ylabel("samples per second (log scale)")
