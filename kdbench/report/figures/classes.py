"""Accuracy by class: the teacher's, and the difference of each student from its teacher."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench.report.figures.drawing import GREY, Drawing, canvas, finish, short
from kdbench.report.model_groups import model_groups, teacher_of
from kdbench.report.tables.accuracy import MOST_COLUMNS, class_shares, differences
from kdbench.results.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMED = 30  # classes whose names fit below the figure
_LEAST_POINTS = 5.0  # of the colour scale, so that small differences look small
_COLOURS = "PuOr_r"  # orange for gains, purple for losses, white for none: distinguishable with any colour vision
_ROW = 0.3  # inches


def class_accuracy(record: RunRecord) -> Drawing | None:
    """Draw top-1 by class of the first teacher, and the differences of students from their own teachers.

    None if the per-class table already shows everything: few classes, and no student to compare.
    """
    shares = class_shares(record)
    compared = {
        s.label: t for s in model_groups(record) if s.label in shares and (t := teacher_of(record, s)) in shares
    }
    reference = next(iter(compared.values()), next(iter(shares), None))
    if reference is None or (len(shares[reference]) <= MOST_COLUMNS and not compared):
        return None
    accuracy = shares[reference]
    classes = sorted(accuracy, key=lambda name: -accuracy[name])
    gaps = {student: differences(shares, student, teacher) for student, teacher in compared.items()}
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
    return finish(
        figure,
        "class_accuracy",
        "Accuracy by class",
        f"Above: {reference}, its best class first. Below: each student minus its teacher, in points, on the same test "
        "samples; orange is better, purple worse.",
    )


def _difference_map(
    figure: "Figure", axes: "Axes", gaps: dict[str, dict[str | int, float]], classes: Sequence[str | int]
) -> None:
    import numpy as np

    cells = np.array([[gap.get(name, np.nan) for name in classes] for gap in gaps.values()])
    most = max(float(np.nanmax(np.abs(cells))), _LEAST_POINTS)
    image = axes.imshow(cells, cmap=_COLOURS, vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(gaps)), [short(label) for label in gaps])
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label="points", fraction=0.04, pad=0.01)


def _label_classes(axes: "Axes", classes: Sequence[str | int]) -> None:
    if len(classes) <= _NAMED:
        brief = all(len(str(name)) <= 2 for name in classes)
        axes.set_xticks(range(len(classes)), [str(name) for name in classes], rotation=0 if brief else 90)
        axes.set_xlabel("class")
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"the {len(classes)} classes, by the accuracy above")
