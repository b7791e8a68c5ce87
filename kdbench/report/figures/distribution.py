"""How the times of single calls are distributed: what a mean or one percentile does not tell."""

from typing import TYPE_CHECKING

from kdbench import units
from kdbench.report.axes import headline, in_words
from kdbench.report.figures.drawing import GREY, Drawing, canvas, legend_below, log_ticks, look, to_svg
from kdbench.report.subjects import subjects
from kdbench.results.records import RunRecord
from kdbench.results.samples import Samples, call_times_ns

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

_POINTS = 160  # of a curve: more would not be seen
_RAREST = 0.001  # share of the calls, at either end, beyond which nothing is drawn
_FEWEST = 20  # calls that a curve is drawn from
_PERCENTILES = (0.01, 0.1, 0.5, 0.9, 0.95, 0.99)
_MARKED = (0.5, 0.95, 0.99)


def latency_distribution(record: RunRecord, samples: Samples) -> Drawing | None:
    """Draw the share of calls that took no longer than a time, per model at the headline's axes; None without samples.

    Both ends of the scale of shares are stretched (logit), so that p95 and p99 are told apart.
    """
    taken = headline(record)
    found = {index: (s.label, call_times_ns(samples, s.ids, taken)) for index, s in enumerate(subjects(record))}
    curves = {
        index: (label, _quantiles(times), len(times))
        for index, (label, times) in found.items()
        if times is not None and len(times) >= _FEWEST
    }
    if not curves:
        return None
    with canvas(8, 5) as figure:
        axes = figure.subplots()
        for index, (label, (times, shares), _) in curves.items():
            colour, _, dashes = look(index)
            axes.plot(times, shares, dashes, color=colour, lw=1.6, label=label)
        _dress(axes)
        axes.set_xlabel(f"time of one call{in_words(taken, ', ')} (log scale)")
        axes.set_ylabel("share of calls that took no longer")
        legend_below(figure, *axes.get_legend_handles_labels())
        svg = to_svg(figure)
    counts = [n for *_, n in curves.values()]
    return Drawing(
        "latency_distribution",
        "Latency distribution",
        "Further left is faster; the steeper a curve, the steadier the calls. Both ends of the vertical scale are "
        "stretched; the dashed lines mark p50, p95 and p99. The fastest and the slowest 0.1 % of the calls lie outside "
        f"the figure. {_calls(counts)}",
        svg,
    )


def _quantiles(times: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Return times and shares of the points that a curve goes through: order statistics, evenly spread in logits."""
    import numpy as np

    rarest = max(_RAREST, 1 / len(times))
    end = np.log((1 - rarest) / rarest)
    shares = 1 / (1 + np.exp(-np.linspace(-end, end, _POINTS)))
    return np.quantile(times, shares, method="inverted_cdf"), shares


def _dress(axes: "Axes") -> None:
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


def _calls(counts: list[int]) -> str:
    fewest, most = min(counts), max(counts)
    return f"{most:,} calls a model." if fewest == most else f"{fewest:,} to {most:,} calls a model."
