"""Speed-up bars: how many times faster each student is than its teacher, with intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench.report.axes import batched_axes, headline, in_words
from kdbench.report.cells import Number
from kdbench.report.figures.drawing import COLOURS, GREY, Drawing, canvas, error_bar, short, to_svg
from kdbench.report.subjects import pair_number, subjects, teacher_of
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = 0.38  # height of a bar, where the students stand 1 apart
_MANY = 24  # students, from which bars are as thin as their numbers
_SPACIOUS, _DENSE = 0.24, 0.16  # inches of a bar
_GAP = 0.14  # inches between students


def speedup(record: RunRecord) -> Drawing | None:
    """Draw teacher time over student time at batch 1 and batched; None if no ratio was measured."""
    compared = [subject for subject in subjects(record) if teacher_of(record, subject)]
    settings = [axes for axes in (headline(record), batched_axes(record)) if axes]
    series = [[pair_number(record, subject, "latency_ratio", axes) for subject in compared] for axes in settings]
    if not any(cell.value is not None for cells in series for cell in cells):
        return None
    row = _GAP + _SPACIOUS * len(settings) if len(compared) < _MANY else _DENSE * (len(settings) + 0.3)
    with canvas(8, 1.3 + row * len(compared)) as figure:
        axes = figure.subplots()
        for index, (taken, cells) in enumerate(zip(settings, series, strict=True)):
            offset = (index - (len(settings) - 1) / 2) * _BAR
            axes.barh(0, 0, color=COLOURS[1 + index], label=in_words(taken))  # for the legend
            _bars(axes, cells, offset, COLOURS[1 + index])
        axes.axvline(1, color=GREY, lw=1, ls="--")
        axes.set_yticks(range(len(compared)), [short(subject.label) for subject in compared])
        axes.set_ylim(len(compared) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.14)
        axes.set_xlim(left=0)
        axes.set_xlabel("speed-up: teacher time / student time, ×")
        figure.legend(loc="outside upper center", ncols=len(settings))
        svg = to_svg(figure)
    return Drawing(
        "speedup",
        "Speed-up over the teacher",
        "Right of the dashed line at 1× the student is faster. Whiskers are the intervals of the paired ratio.",
        svg,
    )


def _bars(axes: "Axes", cells: Sequence[Number], offset: float, colour: str) -> None:
    """Draw one bar per student with its interval and its value in words; `n/a` where there is no number."""
    for place, cell in enumerate(cells):
        y, end = place + offset, 0.0
        if cell.value is not None:
            axes.barh(y, cell.value, _BAR * 0.9, color=colour)
            end = cell.value
            if cell.interval:
                bar = error_bar(cell.value, cell.interval.low, cell.interval.high)
                axes.errorbar(cell.value, y, xerr=bar, fmt="none", ecolor="black", capsize=2.5, elinewidth=1.2)
                end = max(end, cell.interval.high)
        text = cell.text if cell.value is not None else "n/a"
        axes.annotate(text, (end, y), (5, 0), textcoords="offset points", va="center")
