"""How long calls take: the distribution of single calls, speed-ups over the teacher, and time by layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench import units
from kdbench.characters import one_line
from kdbench.report.axes import format_axes, headline, headlines
from kdbench.report.cells import Number
from kdbench.report.figures.drawing import (
    GREY,
    Drawing,
    canvas,
    draw_intervals,
    legend_below,
    log_ticks,
    short,
    style_of,
)
from kdbench.report.figures.selection import MAX_ROWS, curves_of, drawn_order, limited
from kdbench.report.model_groups import teacher_of
from kdbench.report.numbers import number
from kdbench.report.tables.latency import layers_of
from kdbench.results.records import Layer, RunRecord
from kdbench.results.samples import Samples, call_times_ns

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

_POINTS = 160  # of a curve: more would not be visible
_RAREST = 0.001  # share of the calls, at either end, that is not drawn
_MIN_CALLS = 20  # calls that a curve needs
_PERCENTILES = (0.01, 0.1, 0.5, 0.9, 0.95, 0.99)
_MARKED = (0.5, 0.95, 0.99)

_BAR = 0.38  # height of a bar, where students are 1 apart
_DENSE_FROM = 24  # students, from which bars are as thin as their numbers
_SPACIOUS, _DENSE = 0.24, 0.16  # inches of a bar
_GAP = 0.14  # inches between students
_WIDEST = 3.0  # the end of the scale, in times the largest speed-up: wider intervals would flatten all bars
_MARGIN = 1.14  # of the scale, for the numbers

_LAYERS = 5  # of each model
_MODELS = 8
_LAYER_HEIGHT = 0.23  # inches
_LAYER_NAME = 34  # longest, in characters


def latency_distribution(record: RunRecord, samples: Samples) -> Drawing | None:
    """Draw the cumulative distribution of call times, per model at the headline's axes; None without samples.

    Both ends of the vertical scale are stretched (logit) to separate p95 from p99.
    """
    at = headline(record)
    timed = (
        (index, group.label, times)
        for index, group in enumerate(drawn_order(record))
        if (times := call_times_ns(samples, group.ids, at)) is not None and len(times) >= _MIN_CALLS
    )
    curves, more = curves_of(timed)
    if not curves:
        return None
    with canvas(8, 5) as figure:
        axes = figure.subplots()
        for index, label, times in curves:
            colour, _, dashes = style_of(index)
            axes.plot(*_quantiles(times), dashes, color=colour, lw=1.6, label=short(label))
        axes.set_xscale("log")
        axes.set_yscale("logit")
        axes.set_ylim(_RAREST, 1 - _RAREST)
        axes.set_yticks(_PERCENTILES, [f"{100 * share:g} %" for share in _PERCENTILES])
        axes.minorticks_off()
        log_ticks(axes.xaxis, units.time)
        for share in _MARKED:
            axes.axhline(share, color=GREY, lw=1, ls="--", zorder=1)
            note = axes.annotate(f"p{100 * share:g}", (1, share), (4, 0), ("axes fraction", "data"), "offset points")
            note.set(color=GREY, va="center", annotation_clip=False)
        axes.set_xlabel(one_line(f"time of one call{format_axes(at, ', ')} (log scale)"))
        axes.set_ylabel("share of calls that are at least as fast")
        legend_below(figure, *axes.get_legend_handles_labels())
    fewest, most = (pick(len(times) for *_, times in curves) for pick in (min, max))
    calls = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return Drawing.of(
        figure,
        "latency_distribution",
        "Latency distribution",
        "Further left is faster; steeper is steadier. Both ends of the vertical scale are stretched; dashed lines mark "
        "p50, p95 and p99. The fastest and the slowest 0.1 % of the calls are outside the figure. "
        f"{calls} calls per model.{more}",
    )


def speedup(record: RunRecord) -> Drawing | None:
    """Draw teacher time over student time at batch 1 and batched; None if no ratio was measured."""
    compared = [group for group in drawn_order(record) if teacher_of(record, group)]
    students, more = limited(compared, MAX_ROWS, MAX_ROWS)
    configurations = headlines(record)
    series = [[number(record, group, "latency_ratio", axes) for group in students] for axes in configurations]
    if not any(cell.value is not None for cells in series for cell in cells):
        return None
    count = len(configurations)
    widest = _WIDEST * max(cell.value or 0.0 for cells in series for cell in cells)
    row = _GAP + _SPACIOUS * count if len(students) < _DENSE_FROM else _DENSE * (count + 0.3)
    with canvas(8, 1.3 + row * len(students)) as figure:
        axes = figure.subplots()
        for index, (at, cells) in enumerate(zip(configurations, series, strict=True)):
            colour, *_ = style_of(1 + index)
            axes.barh(0, 0, color=colour, label=one_line(format_axes(at)))  # for the legend
            _bars(axes, cells, (index - (count - 1) / 2) * _BAR, colour, widest)
        axes.axvline(1, color=GREY, lw=1, ls="--")
        axes.set_yticks(range(len(students)), [short(group.label) for group in students])
        axes.set_ylim(len(students) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.margins(x=_MARGIN - 1)
        axes.set_xlim(0, min(axes.get_xlim()[1], widest * _MARGIN))
        axes.set_xlabel("speed-up: teacher time / student time, ×")
        figure.legend(loc="outside upper center", ncols=count)
    caption = (
        f"Right of the dashed line at 1× the student is faster. Whiskers are the intervals of the paired ratio.{more}"
    )
    return Drawing.of(figure, "speedup", "Speed-up over the teacher", caption)


def layer_times(record: RunRecord) -> Drawing | None:
    """Draw the slowest layers' shares of time and MACs for each model; None if no layers were profiled."""
    profiled = {
        group.label: sorted(timed, key=lambda layer: -(layer.time_share or 0.0))
        for group in drawn_order(record)
        if (timed := [layer for layer in layers_of(record, group) if layer.time_share is not None])
    }
    shown = dict(list(profiled.items())[:_MODELS])
    if not shown:
        return None
    heights = [min(len(layers), _LAYERS) + 1.2 for layers in shown.values()]
    with canvas(8, _LAYER_HEIGHT * sum(heights) + 1.0) as figure:
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (label, layers) in zip(panels, shown.items(), strict=True):
            _layer_panel(axes, layers)
            axes.set_title(short(label), loc="left")
        panels[0].set_xlim(left=0)
        panels[-1].set_xlabel("share of the model's time, and of its MACs, %")
        drawn = [axes.get_legend_handles_labels() for axes in panels]
        entries = {label: handle for handles, labels in drawn for handle, label in zip(handles, labels, strict=True)}
        figure.legend(entries.values(), entries.keys(), loc="outside upper right", ncols=2)
    more = f" The table shows {len(profiled) - len(shown)} more models." if len(profiled) > len(shown) else ""
    return Drawing.of(
        figure,
        "layer_times",
        "Where the time goes",
        f"The {_LAYERS} slowest layers of each model. Where the bar is much longer than the diamond, a layer takes "
        f"more time than its MACs predict.{more}",
    )


def _quantiles(times: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Return times and shares of a curve's points: order statistics, evenly spaced in logits."""
    import numpy as np

    rarest = max(_RAREST, 1 / len(times))
    end = np.log((1 - rarest) / rarest)
    shares = 1 / (1 + np.exp(-np.linspace(-end, end, _POINTS)))
    return np.quantile(times, shares, method="inverted_cdf"), shares


def _bars(axes: "Axes", cells: Sequence[Number], offset: float, colour: str, widest: float) -> None:
    """Draw one bar per student with its interval and its value as text, at `widest` at most; `n/a` without a number."""
    known = {place + offset: cell for place, cell in enumerate(cells) if cell.value is not None}
    values = [cell.value or 0.0 for cell in known.values()]
    axes.barh(list(known), values, _BAR * 0.9, color=colour)
    intervals = [cell.interval for cell in known.values()]
    draw_intervals(axes, zip(values, known, intervals, strict=True), "black", across=True)
    for place, cell in enumerate(cells):
        y, end = place + offset, max(cell.value or 0.0, cell.interval.high if cell.interval else 0.0)
        text = cell.text if cell.value is not None else "n/a"
        label = axes.annotate(text, (min(end, widest), y), (5, 0), textcoords="offset points", va="center")
        if end > widest:  # the bar of the interval runs on behind the number
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})


def _layer_panel(axes: "Axes", layers: list[Layer]) -> None:
    leading, rows = layers[:_LAYERS], range(min(len(layers), _LAYERS))
    axes.barh(rows, [100 * (layer.time_share or 0.0) for layer in leading], 0.7, color=style_of(1)[0], label="time")
    total = sum(layer.macs or 0 for layer in layers)
    if total and all(layer.macs is not None for layer in layers):
        shares = [100 * (layer.macs or 0) / total for layer in leading]
        axes.plot(shares, rows, "D", color=style_of(2)[0], markersize=5, markeredgecolor="white", label="MACs")
    axes.set_yticks(rows, [short(layer.name, _LAYER_NAME) for layer in leading])
    axes.set_ylim(len(leading) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
