"""Labels beside the points of a figure that overlap neither each other nor anything drawn."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure

Label = tuple[str, tuple[float, float], str]
"""Text, the point (in data coordinates) that it names, and its colour."""

# Positions of a label relative to its point, the preferred ones first: at its sides, above, below, then further out in
# the same directions with a thin leader line. Distances in points (1/72 inch).
_DIRECTIONS = ((1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5), (0.3, 1), (0.3, -1), (-0.3, 1), (-0.3, -1), (1, 0), (-1, 0))
_DISTANCES = (8, 14, 22)
_OFFSETS = [(dx * distance, dy * distance) for distance in _DISTANCES for dx, dy in _DIRECTIONS]
_LEADER_FROM = 22
_CLEARANCE = 4.0  # half the width, in pixels, that stays free around a point or line


def place(
    figure: "Figure", axes: "Axes", labels: Sequence[Label], lines: Sequence[Sequence[tuple[float, float]]]
) -> list[Label]:
    """Write each label at the first position that is free and inside the axes; return the labels without one.

    `lines` are the paths, in data coordinates, that no label may cover. Limits, scales and margins of the axes must
    be final; the layout is computed here, by drawing once.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]  # matplotlib's has no types
    figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]  # `canvas` gives every figure one
    points = axes.transData.transform([xy for _, xy, _ in labels])
    boxes = [_boxes_along(axes.transData.transform(line)) for line in lines] + [_boxes_along(xy[None]) for xy in points]
    occupied, unplaced = np.concatenate(boxes), []
    frame = np.array(axes.get_window_extent().extents)
    for label, point in zip(labels, points, strict=True):
        boxes = point[[0, 1, 0, 1]] + _boxes_around(figure, label[0], renderer)
        if (position := _first_free(boxes, frame, occupied)) is None:
            unplaced.append(label)
        else:
            occupied = np.concatenate([occupied, boxes[[position]]])
            _write(axes, label, _OFFSETS[position])
    return unplaced


def _boxes_around(figure: "Figure", text: str, renderer: "RendererBase") -> "np.ndarray":
    """Return the boxes of a text at each of `_OFFSETS` from a point, in pixels relative to it: offsets × 4."""
    import numpy as np
    from matplotlib.text import Text

    measured = Text(text=text)
    measured.set_figure(figure)
    extent = measured.get_window_extent(renderer)  # the costly part, done once for all positions
    size = np.array([extent.width, extent.height])
    offsets = np.array(_OFFSETS)
    corners = offsets * figure.dpi / 72 - size * (1 - np.sign(offsets)) / 2  # left or below where the offset is < 0
    return np.hstack([corners, corners + size])


def _first_free(boxes: "np.ndarray", frame: "np.ndarray", occupied: "np.ndarray") -> int | None:
    """Return the index of the first box inside `frame` that touches none of `occupied`; all are (x0, y0, x1, y1)."""
    import numpy as np

    inside = ((boxes[:, :2] >= frame[:2]) & (boxes[:, 2:] <= frame[2:])).all(axis=1)
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    covers = np.any(((low <= occupied[:, 2:]) & (occupied[:, :2] <= high)).all(axis=2), axis=1)
    free = np.flatnonzero(inside & ~covers)
    return int(free[0]) if len(free) else None


def _write(axes: "Axes", label: Label, offset: tuple[float, float]) -> None:
    (text, xy, colour), (x, y) = label, offset
    far = max(abs(x), abs(y)) >= _LEADER_FROM
    note = axes.annotate(
        text,
        xy,
        offset,
        textcoords="offset points",
        color=colour,
        ha="left" if x > 0 else "right",
        va="bottom" if y > 0 else "top" if y < 0 else "center",
        arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkB": 5} if far else None,
        zorder=4,
    )
    note.set_in_layout(False)


def _boxes_along(path: "np.ndarray") -> "np.ndarray":
    """Return small boxes that cover a path, both in pixels; the path is points × 2, the boxes are n × 4."""
    import numpy as np

    points = [path[0]]
    for start, end in pairwise(path):
        steps = max(int(np.hypot(*(end - start)) / _CLEARANCE), 1)
        points += [start + (end - start) * step / steps for step in range(1, steps + 1)]
    return np.hstack([np.array(points) - _CLEARANCE, np.array(points) + _CLEARANCE])
