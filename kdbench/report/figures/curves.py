"""Training curves: loss and accuracy by epoch, on the training and the validation part."""

from typing import TYPE_CHECKING

from kdbench.report.figures.drawing import Drawing, canvas, legend_below, log_ticks, look, to_svg
from kdbench.report.subjects import subjects
from kdbench.results.cards import Epoch
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW = 15  # epochs up to which each is marked: a line of one epoch would not show

_PANELS = (
    ("train_loss", "Training loss", "own objective (log scale)"),
    ("validation_loss", "Validation loss", "cross-entropy, nats (log scale)"),
    ("train_top1", "Training accuracy", "top-1, %"),
    ("validation_top1", "Validation accuracy", "top-1, %"),
)


def training_curves(record: RunRecord) -> Drawing | None:
    """Draw the curves of every model that has them, one colour per model, one line per seed."""
    trained = [s for s in subjects(record) if any(card.training and card.training.curve for card in s.cards)]
    if not trained:
        return None
    with canvas(9, 6.4) as figure:
        panels = figure.subplots(2, 2, sharex=True).flat
        for axes, (field, title, unit) in zip(panels, _PANELS, strict=True):
            for index, subject in enumerate(trained):
                colour, _, dashes = look(index)
                curves = [card.training.curve for card in subject.cards if card.training]
                for number, curve in enumerate(curves):
                    label = subject.label if number == 0 else None
                    style = {"marker": "." if len(curve) <= _FEW else "", "alpha": 1 if len(curves) == 1 else 0.6}
                    axes.plot(*_series(curve, field), dashes, color=colour, label=label, lw=1.6, **style)
            _dress(axes, field, title, unit)
        for axes in figure.axes[2:]:
            axes.set_xlabel("epoch")
        legend_below(figure, *figure.axes[0].get_legend_handles_labels())
        svg = to_svg(figure)
    return Drawing(
        "training_curves",
        "Training curves",
        "Training losses are of different objectives: compare their shape, not their height. The other panels compare.",
        svg,
    )


def _series(curve: tuple[Epoch, ...], field: str) -> tuple[list[int], list[float]]:
    """Return epochs and values of one panel."""
    scale = 100 if field.endswith("top1") else 1
    values = [getattr(epoch, field) for epoch in curve]
    return [epoch.epoch for epoch in curve], [scale * value for value in values]


def _dress(axes: "Axes", field: str, title: str, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if field.endswith("loss"):  # objectives differ by orders of magnitude, and so do a curve's two ends
        axes.set_yscale("log")
        log_ticks(axes.yaxis, "{:g}".format)
