"""Accuracy by class, by epoch of the training (with the losses), and along the sweeps of a recipe."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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
from kdbench.report.figures.selection import MAX_CURVES, MAX_ROWS, curves_of, drawn_order, drawn_points, limited
from kdbench.report.model_groups import Family, ModelGroup, Value, families, has_metric, teacher_of
from kdbench.report.numbers import number
from kdbench.report.scores import score_of
from kdbench.report.tables.accuracy import MAX_COLUMNS, class_shares, differences
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKED_EPOCHS = 15  # up to which each is marked: a line of one epoch would not show
_MAX_SWEEPS = 8  # sweeps that one figure shows legibly
_RATIO = 20  # of the largest value to the smallest, from which an axis is logarithmic

_MAX_TICKS = 24
_CHARACTER = 0.03  # width of a character, of an axis
_NAMED = 30  # classes whose names fit below the figure
_MIN_COLOUR_RANGE = 5.0  # of the colour scale, so that small differences look small
_COLOURS = "PuOr_r"  # orange for gains, purple for losses, white for none: distinguishable with any colour vision
_ROW = 0.3  # inches


def class_accuracy(record: RunRecord) -> Drawing | None:
    """Draw top-1 by class of the first teacher, and the differences of students from their own teachers.

    None if the per-class table already shows everything: few classes, and no student to compare.
    """
    shares = class_shares(record)
    compared = {s.label: t for s in drawn_order(record) if s.label in shares and (t := teacher_of(record, s)) in shares}
    reference = next(iter(compared.values()), next(iter(shares), None))
    if reference is None or (len(shares[reference]) <= MAX_COLUMNS and not compared):
        return None
    accuracy = shares[reference]
    classes = sorted(accuracy, key=lambda name: -accuracy[name])
    rows, more = limited(compared.items(), MAX_ROWS, MAX_ROWS)
    gaps = {student: differences(shares, student, teacher) for student, teacher in rows}
    heights = [1.7, _ROW * len(gaps)] if gaps else [1.7]
    with canvas(9, sum(heights) + 1.1) as figure:
        panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        panels[0].bar(range(len(classes)), [100 * accuracy[name] for name in classes], width=0.85, color=GREY)
        panels[0].set_title(short(reference), loc="left")
        panels[0].set(ylabel="top-1, %", ylim=(0, 100))
        panels[0].grid(visible=False, axis="x")
        if gaps:
            _difference_map(figure, panels[1], gaps, classes)
        _label_classes(panels[-1], classes)
    return Drawing.of(
        figure,
        "class_accuracy",
        "Accuracy by class",
        f"Above: {reference}, its best class first. Below: each student minus its teacher, in points, on the same test "
        f"samples; orange is better, purple worse.{more}",
    )


def training_curves(record: RunRecord) -> Drawing | None:
    """Draw the curves of every model that has them, one colour per model, one line per seed."""
    with_curves = (
        (index, group)
        for index, group in enumerate(drawn_order(record))
        if any(card.training and card.training.curve for card in group.cards)
    )
    trained, more = curves_of(with_curves)
    if not trained:
        return None
    score = score_of(record)
    with canvas(9, 6.4) as figure:
        for axes, (field, title, unit) in zip(figure.subplots(2, 2, sharex=True).flat, score.curves, strict=True):
            for index, group in trained:
                colour, _, dashes = style_of(index)
                curves = [card.training.curve for card in group.cards if card.training]
                for seed, curve in enumerate(curves):
                    values = [
                        (100 if field.endswith("top1") else 1) * (getattr(epoch, field) or 0.0) for epoch in curve
                    ]
                    label = short(group.label) if seed == 0 else None
                    style = {
                        "marker": "." if len(curve) <= _MARKED_EPOCHS else "",
                        "alpha": 1 if len(curves) == 1 else 0.6,
                    }
                    drawn = drawn_points(values)
                    epochs = [curve[point].epoch for point in drawn]
                    values = [values[point] for point in drawn]
                    axes.plot(epochs, values, dashes, color=colour, label=label, lw=1.6, **style)
            _set_curve_axes(axes, field, title, unit)
        for axes in figure.axes[2:]:
            axes.set_xlabel("epoch")
        legend_below(figure, *figure.axes[0].get_legend_handles_labels())
    return Drawing.of(
        figure,
        "training_curves",
        "Training curves",
        "Training losses are of different objectives: compare their shape, not their height. The other panels are "
        f"comparable between models.{more}",
    )


def sweep_accuracy(record: RunRecord) -> Drawing | None:
    """Draw every sweep along its main axis: a row of panels each, one line for each combination of the other axes."""
    all_families, score = families(record), score_of(record)
    shown = all_families[:_MAX_SWEEPS]
    panels = [(metric, title) for metric, title in score.swept if any(_has(record, family, metric) for family in shown)]
    if not panels:
        return None
    with canvas(4.5 * len(panels), 2.9 * len(shown)) as figure:
        grid = figure.subplots(len(shown), len(panels), squeeze=False)
        for family, row in zip(shown, grid, strict=True):
            for (metric, title), axes in zip(panels, row, strict=True):
                if not _has(record, family, metric):  # a sweep of teachers has no agreement
                    axes.set_visible(False)
                    continue
                _draw_sweep(record, family, metric, axes, score.factor)
                axes.set_ylabel(title)
            row[0].set_title(short(family.name), loc="left")
    left_out = len(all_families) - len(shown)
    more = f" The table shows {left_out} more." if left_out else ""
    if any(len(_lines(family, family.main_axis)) > MAX_CURVES for family in shown):
        more += f" A panel has {MAX_CURVES} lines at most."
    expected = " Dashed: the expected error, in closed form." if has_metric(record, "expected_mse") else ""
    caption = f"Each row is one sweep of the recipe; bars are 95 % intervals.{expected}{more}"
    return Drawing.of(figure, "sweeps", "Sweeps", caption)


def _difference_map(
    figure: "Figure", axes: "Axes", gaps: dict[str, dict[str | int, float]], classes: Sequence[str | int]
) -> None:
    import numpy as np

    cells = np.array([[gap.get(name, np.nan) for name in classes] for gap in gaps.values()])
    most = max(float(np.nanmax(np.abs(cells))), _MIN_COLOUR_RANGE)
    image = axes.imshow(cells, cmap=_COLOURS, vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(gaps)), [short(label) for label in gaps])
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label="points", fraction=0.04, pad=0.01)


def _label_classes(axes: "Axes", classes: Sequence[str | int]) -> None:
    if len(classes) <= _NAMED:
        brief = all(len(str(name)) <= 2 for name in classes)
        axes.set_xticks(range(len(classes)), [short(str(name)) for name in classes], rotation=0 if brief else 90)
        axes.set_xlabel("class")
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"the {len(classes)} classes, by the accuracy above")


def _set_curve_axes(axes: "Axes", field: str, title: str, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if field.endswith("loss"):  # objectives differ by orders of magnitude, and so do a curve's two ends
        axes.set_yscale("log")
        log_ticks(axes.yaxis, "{:g}".format)


def _has(record: RunRecord, family: Family, metric: str) -> bool:
    return any(number(record, member, metric).value is not None for member in family.members)


def _draw_sweep(record: RunRecord, family: Family, metric: str, axes: "Axes", factor: float) -> None:
    along = family.main_axis
    places, numeric = value_places(family.axes[along])
    lines = list(_lines(family, along).items())[:MAX_CURVES]
    for index, (label, members) in enumerate(lines):
        colour, marker, dashes = style_of(index + 1)
        points = [(places[family.point(member)[along]], number(record, member, metric)) for member in members]
        drawn = sorted(((x, cell) for x, cell in points if cell.value is not None), key=lambda point: point[0])
        ys = [factor * (cell.value or 0.0) for _, cell in drawn]
        # Between categories there is no line to draw.
        xs, line = [x for x, _ in drawn], dashes if numeric else "none"
        if expected := _expected(record, members, metric, [x for x, _ in points]):
            line = "none"  # points beside the line of what is expected
            axes.plot(*zip(*expected, strict=True), color=colour, ls="--", lw=1)
        axes.plot(xs, ys, color=colour, label=short(label), ls=line, marker=marker, ms=4, lw=1.4)
        intervals = [cell.interval for _, cell in drawn]
        draw_intervals(axes, zip(xs, ys, intervals, strict=True), colour, factor, width=0.8, cap=2)
    if any(label for label, _ in lines):
        axes.legend(fontsize=8)
    axes.set_xlabel(short(along))
    set_value_axis(axes, places, numeric=numeric)


def value_places(values: Sequence[Value]) -> tuple[dict[Value, float], bool]:
    """Return where the values of an axis are drawn, and whether they are numbers."""
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return {value: float(value if numeric else place) for place, value in enumerate(values)}, numeric


def _legible(labels: Sequence[str], places: Sequence[float]) -> list[str]:
    """Return the labels at `places` of an axis, with empty ones where a label would overlap the one on its left."""
    span, end = max(places) - min(places) or 1.0, -math.inf
    shown = [""] * len(labels)
    for index in sorted(range(len(labels)), key=lambda index: places[index]):
        middle, half = (places[index] - min(places)) / span, len(labels[index]) * _CHARACTER / 2
        if middle - half > end:
            shown[index], end = labels[index], middle + half
    return shown


def set_value_axis(axes: "Axes", places: Mapping[Value, float], *, numeric: bool) -> None:
    """Scale and label a horizontal axis for the values of a sweep: all of a few that do not overlap, else some numbers.

    The scale is logarithmic if the values span a wide range, or if more labels fit then.
    """
    ticks = list(places.values())
    labels = [f"{value:g}" if numeric else short(str(value)) for value in places]
    if numeric:
        legible = _legible(labels, ticks)
        if min(ticks) > 0:
            on_log_scale = _legible(labels, [math.log(tick) for tick in ticks])
            if max(ticks) / min(ticks) >= _RATIO or sum(map(bool, on_log_scale)) > sum(map(bool, legible)):
                axes.set_xscale("log")
                legible = on_log_scale
        labels = legible
    if len(ticks) <= _MAX_TICKS:
        axes.set_xticks(ticks, labels)
        axes.minorticks_off()
    elif not numeric:
        axes.set_xticks([])
    if not numeric:
        axes.tick_params(axis="x", rotation=20)


def _expected(
    record: RunRecord, members: Sequence[ModelGroup], metric: str, places: Sequence[float]
) -> list[tuple[float, float]]:
    """Return the points of the expected error, where `metric` is an error that has one in closed form."""
    if metric != "mse":
        return []
    values = [number(record, member, "expected_mse").value for member in members]
    return sorted((x, value) for x, value in zip(places, values, strict=True) if value is not None)


def _lines(family: Family, along: str) -> dict[str, list[ModelGroup]]:
    """Return the members by their point on the other axes, as text."""
    lines: dict[str, list[ModelGroup]] = {}
    for member in family.members:
        others = ", ".join(f"{axis} {value}" for axis, value in family.point(member).items() if axis != along)
        lines.setdefault(others, []).append(member)
    return lines
