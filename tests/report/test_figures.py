import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text

from kdbench.report.figures import draw
from kdbench.report.figures.drawing import COLOURS, canvas, look
from kdbench.report.figures.labels import place
from kdbench.report.figures.tradeoff import pareto_front

PLANE = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(PLANE)
def test_the_front_is_what_no_other_point_beats(points: list[tuple[int, int]]) -> None:
    def beaten(point: tuple[int, int]) -> bool:
        return any(x <= point[0] and y >= point[1] and (x, y) != point for x, y in points)

    assert pareto_front(points) == sorted({point for point in points if not beaten(point)})


def words(svg: str) -> set[str]:
    return {"".join(node.itertext()).strip() for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


def test_figures_say_what_they_show_in_words_with_units(sample) -> None:
    drawn = {drawing.name: words(drawing.svg) for drawing in draw(sample)}
    assert {"teacher", "student-kd", "500 µs", "1 ms", "top-1 accuracy, %"} <= drawn["accuracy_latency"]
    assert {"5.35×", "n/a", "batch 1, 1 thread, cpu provider"} <= drawn["speedup"]
    assert {"epoch", "Validation accuracy", "student-hint"} <= drawn["training_curves"]


def test_figures_carry_no_date_and_a_white_ground(sample) -> None:
    for drawing in draw(sample):
        assert "dc:date" not in drawing.svg
        assert re.search(r'id="patch_1">\s*<path[^>]*style="fill: #ffffff', drawing.svg)


def test_nothing_is_drawn_from_nothing(make_record, make_card) -> None:
    record = make_record(models=[make_card("teacher", training=None)], measurements=(), pairs=(), warnings=())
    assert draw(record) == []


def test_models_beyond_the_palette_are_still_told_apart() -> None:
    assert len({look(index) for index in range(4 * len(COLOURS))}) == 4 * len(COLOURS)


@pytest.mark.parametrize("seed", range(5))
def test_labels_cover_neither_points_nor_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = [(float(10 ** rng.uniform(5, 6)), float(rng.uniform(90, 99))) for _ in range(8)]
    with canvas(8, 4.8) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.plot(*zip(*points, strict=True), "o")
        axes.margins(0.12, 0.15)
        place(figure, axes, [(f"student-{index}", xy, "black") for index, xy in enumerate(points)], [])
        renderer = FigureCanvasAgg(figure).get_renderer()
        notes = [child for child in axes.get_children() if isinstance(child, Annotation)]
        boxes = []
        for note in notes:
            note.update_positions(renderer)
            boxes.append(Text.get_window_extent(note, renderer))
        centres = axes.transData.transform(points)
    assert len(boxes) == len(points)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert not any(box.contains(*centre) for box in boxes for centre in centres)
