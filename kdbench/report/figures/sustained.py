"""Sustained load on devices: how times, temperature and clock change while the models are called without a pause."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kdbench import units
from kdbench.report.figures.drawing import GREY, Drawing, canvas, legend_below, log_ticks, short, style_of
from kdbench.report.figures.selection import curves_of, drawn_order
from kdbench.results.records import RunRecord
from kdbench.results.records.devices import of_device
from kdbench.results.records.sustained import Course, Slice, course_of
from kdbench.results.samples import STEADY_FROM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_DEVICES = 3  # side by side
_MINUTES_FROM_S = 120.0  # a shorter time is in seconds
_FACTS: tuple[tuple[str, Callable[[Slice], float | None]], ...] = (
    ("temperature (°C)", lambda part: part.temperature_c),
    ("clock (MHz)", lambda part: part.clock_mhz),
)


def sustained_load(record: RunRecord) -> Drawing | None:
    """Draw each device's median latencies over time, above its temperature and clock; None without such a load."""
    courses = {d.name: course for d in record.devices if (course := course_of(d)) is not None and course.slices}
    shown = dict(list(courses.items())[:_MAX_DEVICES])
    if not shown:
        return None
    facts = [fact for fact in _FACTS if any(fact[1](part) is not None for c in shown.values() for part in c.slices)]
    with canvas(8 if len(shown) < _MAX_DEVICES else 10, 3.6 + 1.3 * len(facts)) as figure:
        heights = [2.4, *[1.0] * len(facts)]
        panels = figure.subplots(len(heights), len(shown), squeeze=False, height_ratios=heights)
        more = ""
        for column, (name, course) in enumerate(shown.items()):
            top, *below = (row[column] for row in panels)
            scale, unit = (1 / 60, "minutes") if course.lasted_s >= _MINUTES_FROM_S else (1.0, "seconds")
            starts = [part.from_s * scale for part in course.slices]
            more = _times(top, record, name, course, starts) or more
            top.set_title(short(name))
            for axes, (_, fact_of) in zip(below, facts, strict=True):
                values = [fact_of(part) for part in course.slices]
                axes.plot(starts, [float("nan") if value is None else value for value in values], color=GREY, lw=1.4)
            for axes in (top, *below):
                axes.axvspan(course.lasted_s * scale * STEADY_FROM, course.lasted_s * scale, color=GREY, alpha=0.1)
                axes.set_xlim(0, course.lasted_s * scale)
            (below[-1] if below else top).set_xlabel(unit)
        panels[0][0].set_ylabel("median latency (log scale)")
        for row, (label, _) in zip(panels[1:], facts, strict=True):
            row[0].set_ylabel(label)
        legend_below(figure, *panels[0][0].get_legend_handles_labels())
    devices = f" {len(shown)} of {len(courses)} devices are shown." if len(courses) > len(shown) else ""
    caption = (
        "Lower is better. The models are called in turn without a pause; a rising curve shows a device that slows down "
        f"as it heats up. The shaded last third is the steady state.{more}{devices}"
    )
    return Drawing.of(figure, "sustained_load", "Sustained load on devices", caption)


def _times(axes: "Axes", record: RunRecord, device: str, course: Course, starts: Sequence[float]) -> str:
    """Draw each model's median over time; return the caption's sentence about models without a curve."""
    groups = list(enumerate(drawn_order(of_device(record, device))))
    timed = [
        (index, group.label, values)
        for index, group in groups
        if any(values := [_median(part, group.ids) for part in course.slices])
    ]
    curves, more = curves_of(timed)
    for index, label, values in curves:
        colour, _, dashes = style_of(index)
        axes.plot(starts, [value or float("nan") for value in values], dashes, color=colour, lw=1.6, label=short(label))
    known = [value for *_, values in curves for value in values if value]
    if known:
        axes.set_yscale("log")
        log_ticks(axes.yaxis, units.time, known)
    return more


def _median(part: Slice, ids: Sequence[str]) -> float | None:
    return next((value for id_ in ids if (value := part.p50_ns.get(id_)) and value > 0), None)
