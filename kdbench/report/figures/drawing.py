"""What the figures share: colours, sizes, and the conversion of a matplotlib figure to SVG text."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

HOLLOW = " Hollow points are unstable."  # for captions

_LONGEST = 40  # characters of a name
_MOST_COLUMNS = 4  # of a legend

_BEYOND = 5.0  # factor beyond the largest and the smallest value that a logarithmic axis shows

_STYLE: Any = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
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


@contextmanager
def canvas(width: float, height: float) -> Iterator["Figure"]:
    """Yield an empty figure of that size in inches, in the reports' style; draw and `to_svg` it inside the block.

    A Figure of its own rather than pyplot's: no global state, no window system.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def to_svg(figure: "Figure") -> str:
    """Return the figure as SVG text, without date and version so that equal figures are equal files."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "kdbench"})
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def look(index: int) -> tuple[str, str, str]:
    """Return colour, marker and dashes of the model at `index` of the tables."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], DASHES[index // len(COLOURS) % len(DASHES)]


def error_bar(value: float, low: float, high: float) -> tuple[Sequence[float], Sequence[float]]:
    """Return an interval as matplotlib expects it: distances below and above the value, not negative."""
    return [max(value - low, 0.0)], [max(high - value, 0.0)]


def short(name: str, longest: int = _LONGEST) -> str:
    """Return a name, shortened in the middle if it is too long: names often differ at their end."""
    start, end = (longest - 1) // 4, longest - 1 - (longest - 1) // 4
    return name if len(name) <= longest else f"{name[:start]}…{name[-end:]}"


def legend_below(figure: "Figure", handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Write a legend below all axes, in as many columns as fit; the figure grows by its height."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    names = [short(label) for label in labels]
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]  # matplotlib's has no types
    for columns in range(min(len(names), _MOST_COLUMNS), 0, -1):
        legend = figure.legend(handles, names, loc="outside lower center", ncols=columns)
        box = legend.get_window_extent(renderer)
        if box.width <= figure.bbox.width or columns == 1:
            figure.set_figheight(figure.get_figheight() + box.height / figure.dpi)
            return
        legend.remove()


def keep_in_sight(axis: "Axis", values: Sequence[float]) -> None:
    """Clip intervals that would flatten the `values`, all above 0, on a logarithmic axis."""
    low, high = axis.get_view_interval()
    axis.set_view_interval(max(low, min(values) / _BEYOND), min(high, max(values) * _BEYOND), ignore=True)


def log_ticks(axis: "Axis", write: Callable[[float], str]) -> None:
    """Label a logarithmic axis with final limits at round values, formatted by `write` without empty decimals."""
    from math import log10

    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = log10(high / low)
    steps = (1, 2, 5) if decades < _MANY_DECADES else (1,)
    axis.set_major_locator(MaxNLocator(6) if decades < _FEW_DECADES else LogLocator(base=10, subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _without_empty_decimals(write(value))))
    axis.set_minor_formatter(NullFormatter())


def _without_empty_decimals(text: str) -> str:
    """Return `200 µs` for `200.00 µs`, `1.5 ms` for `1.50 ms`."""
    number, space, unit = text.partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number}{space}{unit}"
