"""Accuracy by class: the teacher's, and below it what each student gains and loses on every class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench.report.classes import MOST_COLUMNS, Shares, class_shares, differences
from kdbench.report.figures.drawing import GREY, Drawing, canvas, short, to_svg
from kdbench.report.subjects import subjects, teacher_of
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMED = 30  # classes whose names have room below the figure
_LEAST_POINTS = 5.0  # of the colours' scale: smaller differences look small
_COLOURS = "PuOr_r"  # orange for gains, purple for losses, white for none: told apart with any colour vision
_ROW = 0.3  # inches


def class_accuracy(record: RunRecord) -> Drawing | None:
    """Draw top-1 by class of the first model that students are compared with, and their differences from their own.

    None where the per-class table already shows all there is: few classes, and no student to compare.
    """
    shares = class_shares(record)
    compared = {s.label: t for s in subjects(record) if s.label in shares and (t := teacher_of(record, s)) in shares}
    reference = next(iter(compared.values()), next(iter(shares), None))
    if reference is None or (len(shares[reference]) <= MOST_COLUMNS and not compared):
        return None
    own = shares[reference]
    classes = sorted(own, key=lambda name: -own[name])
    gaps = {student: differences(shares, student, teacher) for student, teacher in compared.items()}
    heights = [1.7, _ROW * len(gaps)] if gaps else [1.7]
    with canvas(9, sum(heights) + 1.1) as figure:
        panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        _bars(panels[0], reference, own, classes)
        if gaps:
            _map(figure, panels[1], gaps, classes)
        _name(panels[-1], classes)
        svg = to_svg(figure)
    return Drawing(
        "class_accuracy",
        "Accuracy by class",
        f"Above, {reference}, its best class first; below, each student minus its own teacher, in points on the same "
        "test samples: orange is better, purple worse.",
        svg,
    )


def _bars(axes: "Axes", reference: str, own: Shares, classes: Sequence[str | int]) -> None:
    axes.bar(range(len(classes)), [100 * own[name] for name in classes], width=0.85, color=GREY)
    axes.set_title(short(reference), loc="left")
    axes.set_ylabel("top-1, %")
    axes.set_ylim(0, 100)
    axes.grid(visible=False, axis="x")


def _map(figure: "Figure", axes: "Axes", gaps: dict[str, dict[str | int, float]], classes: Sequence[str | int]) -> None:
    import numpy as np

    cells = np.array([[gap.get(name, np.nan) for name in classes] for gap in gaps.values()])
    most = max(float(np.nanmax(np.abs(cells))), _LEAST_POINTS)
    image = axes.imshow(cells, cmap=_COLOURS, vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(gaps)), [short(label) for label in gaps])
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label="points", fraction=0.04, pad=0.01)


def _name(axes: "Axes", classes: Sequence[str | int]) -> None:
    if len(classes) <= _NAMED:
        short = all(len(str(name)) <= 2 for name in classes)
        axes.set_xticks(range(len(classes)), [str(name) for name in classes], rotation=0 if short else 90)
        axes.set_xlabel("class")
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"the {len(classes)} classes, by the accuracy above")
