"""Labels beside points that hide neither each other nor the drawing."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

Label = tuple[str, tuple[float, float], str]
"""Text, the point (in data coordinates) that it names, and its colour."""

# Positions of a label relative to its point, the preferred ones first: beside, above and below it, then further out in
# the same directions with a thin leader line. Distances in points (1/72 inch).
_DIRECTIONS = ((1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5), (0.3, 1), (0.3, -1), (-0.3, 1), (-0.3, -1), (1, 0), (-1, 0))
_DISTANCES = (8, 14, 22)
_LEADER_FROM = 22
_CLEARANCE = 4.0  # half the width, in pixels, that stays free around a point or line


def place(
    figure: "Figure", axes: "Axes", labels: Sequence[Label], lines: Sequence[Sequence[tuple[float, float]]]
) -> list[Label]:
    """Write each label at the first position that is free and inside the axes; return the labels without one.

    `lines` are the paths, in data coordinates, that no label may cover. Limits, scales and margins of the axes must
    be final; the layout is computed here, by drawing once.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    agg = FigureCanvasAgg(figure)  # knows the extents of text; the SVG is written later, by its own canvas
    agg.draw()  # type: ignore[no-untyped-call]  # matplotlib's canvases carry no types
    renderer = agg.get_renderer()  # type: ignore[no-untyped-call]
    frame = axes.get_window_extent()
    occupied = [box for line in lines for box in _boxes_along(axes.transData.transform(line))]
    occupied += [box for _, xy, _ in labels for box in _boxes_along(axes.transData.transform([xy]))]
    unplaced = []
    for label in labels:
        note = _placed(renderer, axes, label, frame, occupied)
        if note is None:
            unplaced.append(label)
        else:
            occupied.append(_extent(note, renderer))
    return unplaced


def _placed(
    renderer: "RendererBase", axes: "Axes", label: Label, frame: "Bbox", occupied: Sequence["Bbox"]
) -> "Annotation | None":
    """Write one label where it covers nothing; None if there is no such position."""
    import numpy as np

    x0, y0, x1, y1 = np.array([box.extents for box in occupied]).reshape(-1, 4).T
    for distance in _DISTANCES:
        for dx, dy in _DIRECTIONS:
            note = _write(axes, label, (dx * distance, dy * distance))
            box = _extent(note, renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not ((box.x0 <= x1) & (x0 <= box.x1) & (box.y0 <= y1) & (y0 <= box.y1)).any():
                return note
            note.remove()
    return None


def _write(axes: "Axes", label: Label, offset: tuple[float, float]) -> "Annotation":
    text, xy, colour = label
    x, y = offset
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
    return note


def _extent(note: "Annotation", renderer: "RendererBase") -> "Bbox":
    """Return the extent of the text, without the leader line."""
    from matplotlib.text import Text

    note.update_positions(renderer)
    return Text.get_window_extent(note, renderer)


def _boxes_along(path: "np.ndarray") -> list["Bbox"]:
    """Return small boxes that cover a path, both in pixels; the path is points × 2."""
    import numpy as np
    from matplotlib.transforms import Bbox

    points = [path[0]]
    for start, end in pairwise(path):
        steps = max(int(np.hypot(*(end - start)) / _CLEARANCE), 1)
        points += [start + (end - start) * step / steps for step in range(1, steps + 1)]
    return [Bbox.from_bounds(x - _CLEARANCE, y - _CLEARANCE, 2 * _CLEARANCE, 2 * _CLEARANCE) for x, y in points]
