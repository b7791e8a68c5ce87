"""Where the time of a call goes, layer by layer, and whether it goes where the MACs are."""

from typing import TYPE_CHECKING

from kdbench.report.figures.drawing import COLOURS, Drawing, canvas, short, to_svg
from kdbench.report.subjects import subjects
from kdbench.results.records import Layer, RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEADING = 5  # layers of each model
_MODELS = 8
_ROW = 0.23  # inches
_LONGEST = 34  # characters of a layer's name


def layer_times(record: RunRecord) -> Drawing | None:
    """Draw each model's leading layers' shares of time and MACs; None where no layers were profiled."""
    profiled = {s.label: found for s in subjects(record) if (found := _timed(record, s.ids))}
    shown = dict(list(profiled.items())[:_MODELS])
    if not shown:
        return None
    heights = [min(len(layers), _LEADING) + 1.2 for layers in shown.values()]
    with canvas(8, _ROW * sum(heights) + 1.0) as figure:
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (label, layers) in zip(panels, shown.items(), strict=True):
            _panel(axes, layers)
            axes.set_title(short(label), loc="left")
        panels[0].set_xlim(left=0)
        panels[-1].set_xlabel("share of the model's time, and of its MACs, %")
        entries = {
            label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(entries.values(), entries.keys(), loc="outside upper right", ncols=2)
        svg = to_svg(figure)
    left_out = len(profiled) - len(shown)
    return Drawing(
        "layer_times",
        "Where the time goes",
        f"The {_LEADING} layers of each model that take the most time. Where the bar is longer than the "
        "diamond is far out, a layer takes more time than its MACs foretell."
        + (f" {left_out} more models are in the table alone." if left_out else ""),
        svg,
    )


def _timed(record: RunRecord, ids: tuple[str, ...]) -> list[Layer]:
    timed = [layer for layer in record.layers if layer.model in ids and layer.time_share is not None]
    return sorted(timed, key=lambda layer: -(layer.time_share or 0.0))


def _panel(axes: "Axes", layers: list[Layer]) -> None:
    leading, rows = layers[:_LEADING], range(min(len(layers), _LEADING))
    axes.barh(rows, [100 * (layer.time_share or 0.0) for layer in leading], 0.7, color=COLOURS[1], label="time")
    total = sum(layer.macs or 0 for layer in layers)
    if total and all(layer.macs is not None for layer in layers):
        shares = [100 * (layer.macs or 0) / total for layer in leading]
        axes.plot(shares, rows, "D", color=COLOURS[2], markersize=5, markeredgecolor="white", label="MACs")
    axes.set_yticks(rows, [short(layer.name, _LONGEST) for layer in leading])
    axes.set_ylim(len(leading) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
