"""What the figures share: colours, sizes, intervals, legends, and the conversion to SVG text."""

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdbench.characters import one_line, visible
from kdbench.results.records import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's palette, made for any colour vision (https://jfly.uni-koeln.de/color/), without its yellow,
# which is too pale on white. Beyond seven models, markers and dashes repeat the colours with a difference.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v")
DASHES = ("-", "--", ":", "-.")
GREY = "#5f6368"
GRID = "#e4e6e9"

# An axis with fewer decades holds too few of 1, 2, 5, 10; one with more has room for powers of ten only.
_FEW_DECADES, _MANY_DECADES = 1.0, 3.5

_MAX_NAME = 40  # characters of a name
_HAIR_SPACE = "\u200a"
_MAX_COLUMNS = 4  # of a legend

_BEYOND = 5.0  # factor beyond the largest and the smallest value that a logarithmic axis shows

# It warns about a home folder that it cannot use; without a handler Python writes that to the terminal.
logging.getLogger("matplotlib").addHandler(logging.NullHandler())

_STYLE: Any = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titley": 1.0,  # the default place, without a search for overlaps
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": False,
    "figure.facecolor": "white",  # legible on a dark page too
    "savefig.facecolor": "white",
    "text.parse_math": False,  # a model may be called $x$
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "svg.hashsalt": "kdbench",  # ids derive from the content, not from chance
}


@dataclass(frozen=True)
class Drawing:
    """A finished figure: `name` is its file's stem, `caption` says how to read it."""

    name: str
    title: str
    caption: str
    svg: str

    @classmethod
    def of(cls, figure: "Figure", name: str, title: str, caption: str, *, hollow: bool = False) -> "Drawing":
        """Convert a figure to SVG; `hollow`: some of its points are hollow, which the caption explains."""
        return cls(name, title, f"{caption}{' Hollow points are unstable.' if hollow else ''}", to_svg(figure))


def load_drawing() -> None:
    """Load matplotlib, which takes a second: a waiting process can do it early."""
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401


@contextmanager
def canvas(width: float, height: float) -> Iterator["Figure"]:
    """Yield an empty figure of that size in inches, in the reports' style; draw inside the block.

    A Figure of its own rather than pyplot's: no global state, no window system.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def to_svg(figure: "Figure") -> str:
    """Return the figure as SVG text, without date and version so that equal figures are equal files."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if not axis.get_label_text():
            axis.set_label_coords(0.5, 0.5)  # searching for a place takes a tenth of the time
    stream = io.StringIO()
    with rc_context(_STYLE):  # savefig would draw twice, the first time for the layout alone
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": "kdbench"})  # type: ignore[no-untyped-call]
    # matplotlib writes characters that XML forbids as they are.
    return "\n".join(line.rstrip() for line in visible(stream.getvalue()).splitlines()) + "\n"


def style_of(index: int) -> tuple[str, str, str]:
    """Return colour, marker and dashes of the model at `index` of the tables."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], DASHES[index // len(COLOURS) % len(DASHES)]


def error_bar(value: float, interval: Interval | None, scale: float = 1) -> tuple[list[float], list[float]] | None:
    """Return `scale` times an interval as matplotlib expects it: distances below and above `value`, not negative."""
    if interval is None:
        return None
    return [max(value - scale * interval.low, 0.0)], [max(scale * interval.high - value, 0.0)]


def draw_intervals(
    axes: "Axes",
    points: Iterable[tuple[float, float, Interval | None]],
    colour: str,
    scale: float = 1,
    *,
    across: bool = False,
    width: float = 1.2,
    cap: float = 2.5,
) -> None:
    """Draw the intervals, times `scale`, of the points (x, y, interval of y) that have one, all of them at once.

    With `across`, the intervals are of x. `width` and `cap` are in points.
    """
    bounded = [(x, y, bounds) for x, y, bounds in points if bounds is not None]
    if not bounded:
        return
    xs, ys = [x for x, *_ in bounded], [y for _, y, _ in bounded]
    values = zip(xs if across else ys, (bounds for *_, bounds in bounded), strict=True)
    below, above = zip(*(error_bar(value, bounds, scale) for value, bounds in values), strict=True)
    bars = [[low for (low,) in below], [high for (high,) in above]]
    yerr, xerr = (None, bars) if across else (bars, None)
    axes.errorbar(xs, ys, yerr, xerr, "none", ecolor=colour, elinewidth=width, capsize=cap)


def short(name: str, longest: int = _MAX_NAME) -> str:
    """Return a name on one line, shortened in the middle if it is too long: names often differ at their end."""
    name = one_line(name)
    if name.startswith("_"):  # matplotlib leaves such names out of legends
        name = f"{_HAIR_SPACE}{name}"
    start, end = (longest - 1) // 4, longest - 1 - (longest - 1) // 4
    return name if len(name) <= longest else f"{name[:start]}…{name[-end:]}"


def legend_below(figure: "Figure", handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Write a legend below all axes, in as many columns as fit; the figure grows by its height."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    names = [short(label) for label in labels]
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]  # matplotlib's has no types
    for columns in range(min(len(names), _MAX_COLUMNS), 0, -1):
        legend = figure.legend(handles, names, loc="outside lower center", ncols=columns)
        box = legend.get_window_extent(renderer)
        if box.width <= figure.bbox.width or columns == 1:
            figure.set_figheight(figure.get_figheight() + box.height / figure.dpi)
            return
        legend.remove()


def log_ticks(axis: "Axis", write: Callable[[float], str], values: Sequence[float] = ()) -> None:
    """Label a logarithmic axis at round values, formatted by `write` without empty decimals.

    The axis' limits are final, or clipped here: to show `values`, all above 0, without intervals that flatten them.
    """
    from math import log10

    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    if values:
        low, high = max(low, min(values) / _BEYOND), min(high, max(values) * _BEYOND)
        axis.set_view_interval(low, high, ignore=True)
    decades = log10(high / low)
    steps = (1, 2, 5) if decades < _MANY_DECADES else (1,)
    axis.set_major_locator(MaxNLocator(6) if decades < _FEW_DECADES else LogLocator(base=10, subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _without_empty_decimals(write(value))))
    axis.set_minor_formatter(NullFormatter())


def _without_empty_decimals(text: str) -> str:
    """Return `200 µs` for `200.00 µs`, `1.5 ms` for `1.50 ms`."""
    number, space, unit = text.partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number}{space}{unit}"
