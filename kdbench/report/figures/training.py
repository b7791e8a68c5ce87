"""Training curves by epoch, and accuracy along the sweeps of a recipe."""

from typing import TYPE_CHECKING

from kdbench.report.figures.drawing import Drawing, canvas, error_bar, finish, legend_below, log_ticks, look
from kdbench.report.model_groups import Family, ModelGroup, Value, families, is_number, model_groups, number
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW = 15  # epochs up to which each is marked: a line of one epoch would not show
_CURVES = (
    ("train_loss", "Training loss", "objective (log scale)"),
    ("validation_loss", "Validation loss", "cross-entropy, nats (log scale)"),
    ("train_top1", "Training accuracy", "top-1, %"),
    ("validation_top1", "Validation accuracy", "top-1, %"),
)
_SWEPT = (("top1", "Top-1, %"), ("agreement", "agreement with the teacher, %"))
_MOST = 8  # sweeps that one figure shows legibly
_RATIO = 20  # of the largest value to the smallest, from which an axis is logarithmic


def training_curves(record: RunRecord) -> Drawing | None:
    """Draw the curves of every model that has them, one colour per model, one line per seed."""
    trained = [
        group for group in model_groups(record) if any(card.training and card.training.curve for card in group.cards)
    ]
    if not trained:
        return None
    with canvas(9, 6.4) as figure:
        for axes, (field, title, unit) in zip(figure.subplots(2, 2, sharex=True).flat, _CURVES, strict=True):
            for index, group in enumerate(trained):
                colour, _, dashes = look(index)
                curves = [card.training.curve for card in group.cards if card.training]
                for seed, curve in enumerate(curves):
                    values = [(100 if field.endswith("top1") else 1) * getattr(epoch, field) for epoch in curve]
                    label = group.label if seed == 0 else None
                    style = {"marker": "." if len(curve) <= _FEW else "", "alpha": 1 if len(curves) == 1 else 0.6}
                    axes.plot(
                        [epoch.epoch for epoch in curve], values, dashes, color=colour, label=label, lw=1.6, **style
                    )
            _set_curve_axes(axes, field, title, unit)
        for axes in figure.axes[2:]:
            axes.set_xlabel("epoch")
        legend_below(figure, *figure.axes[0].get_legend_handles_labels())
    return finish(
        figure,
        "training_curves",
        "Training curves",
        "Training losses are of different objectives: compare their shape, not their height. The other panels are "
        "comparable between models.",
    )


def sweep_accuracy(record: RunRecord) -> Drawing | None:
    """Draw every sweep along its main axis: a row of panels each, one line for each combination of the other axes."""
    all_families = families(record)
    shown = all_families[:_MOST]
    panels = [(metric, title) for metric, title in _SWEPT if any(_has(record, family, metric) for family in shown)]
    if not panels:
        return None
    with canvas(4.5 * len(panels), 2.9 * len(shown)) as figure:
        grid = figure.subplots(len(shown), len(panels), squeeze=False)
        for family, row in zip(shown, grid, strict=True):
            for (metric, title), axes in zip(panels, row, strict=True):
                if not _has(record, family, metric):  # a sweep of teachers has no agreement
                    axes.set_visible(False)
                    continue
                _draw_sweep(record, family, metric, axes)
                axes.set_ylabel(title)
            row[0].set_title(family.name, loc="left")
    left_out = len(all_families) - len(shown)
    more = f" The table shows {left_out} more." if left_out else ""
    caption = f"Each row is one sweep of the recipe; bars are 95 % intervals.{more}"
    return finish(figure, "sweeps", "Sweeps", caption)


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


def _draw_sweep(record: RunRecord, family: Family, metric: str, axes: "Axes") -> None:
    along = family.main_axis
    values = family.axes[along]
    numeric = all(is_number(value) for value in values)
    places: dict[Value, float] = {value: float(value if numeric else place) for place, value in enumerate(values)}
    for index, (label, members) in enumerate(_lines(family, along).items()):
        colour, marker, dashes = look(index + 1)
        points = [(places[family.point(member)[along]], number(record, member, metric)) for member in members]
        drawn = sorted(((x, cell) for x, cell in points if cell.value is not None), key=lambda point: point[0])
        ys = [100 * (cell.value or 0.0) for _, cell in drawn]
        # Between categories there is no line to draw.
        xs, line = [x for x, _ in drawn], dashes if numeric else "none"
        axes.plot(xs, ys, color=colour, label=label, ls=line, marker=marker, ms=4, lw=1.4)
        for (x, cell), y in zip(drawn, ys, strict=True):
            if bar := error_bar(y, cell.interval, 100):
                axes.errorbar([x], [y], bar, color=colour, capsize=2, lw=0.8)
        if label:
            axes.legend(fontsize=8)
    axes.set_xlabel(along)
    ticks = list(places.values())
    if numeric and min(ticks) > 0 and max(ticks) / min(ticks) >= _RATIO:
        axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{value:g}" if numeric else str(value) for value in values])
    axes.minorticks_off()
    if not numeric:
        axes.tick_params(axis="x", rotation=20)


def _lines(family: Family, along: str) -> dict[str, list[ModelGroup]]:
    """Return the members by their point on the other axes, as text."""
    lines: dict[str, list[ModelGroup]] = {}
    for member in family.members:
        others = ", ".join(f"{axis} {value}" for axis, value in family.point(member).items() if axis != along)
        lines.setdefault(others, []).append(member)
    return lines
