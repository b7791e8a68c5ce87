"""Figures: their labels, legends and points, drawn the same each time."""

import itertools
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from report.figures.svg_words import words, words_in_order

from kdbench.report.figures import draw
from kdbench.report.figures.accuracy import set_value_axis, value_places
from kdbench.report.figures.drawing import COLOURS, canvas, legend_below, log_ticks, short, style_of, to_svg
from kdbench.report.figures.labels import place
from kdbench.report.figures.selection import MAX_CURVES
from kdbench.report.figures.tradeoff import accuracy_latency


def test_figures_have_labels_with_units(sample) -> None:
    drawn = {drawing.name: words(drawing.svg) for drawing in draw(sample)}
    assert {"teacher", "student-kd", "500 µs", "1 ms", "top-1 accuracy, %"} <= drawn["accuracy_latency"]
    assert {"5.35×", "n/a", "batch 1, 1 thread, cpu provider"} <= drawn["speedup"]
    assert {"epoch", "Validation accuracy", "student-hint"} <= drawn["training_curves"]


def test_figures_have_no_date_and_a_white_background(sample) -> None:
    for drawing in draw(sample):
        assert "dc:date" not in drawing.svg
        assert re.search(r'id="patch_1">\s*<path[^>]*style="fill: #ffffff', drawing.svg)


def test_empty_record_has_no_figures(make_record, make_card) -> None:
    record = make_record(models=[make_card("teacher", training=None)], measurements=(), pairs=(), warnings=())
    assert draw(record) == []


def test_models_beyond_the_palette_differ() -> None:
    assert len({style_of(index) for index in range(4 * len(COLOURS))}) == 4 * len(COLOURS)


@pytest.mark.parametrize("seed", range(5))
def test_labels_do_not_overlap_points_or_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = [(float(10 ** rng.uniform(5, 6)), float(rng.uniform(90, 99))) for _ in range(8)]
    with canvas(8, 4.8) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.plot(*zip(*points, strict=True), "o")
        axes.margins(0.12, 0.15)
        left = place(figure, axes, [(f"student-{index}", xy, "black") for index, xy in enumerate(points)], [])
        renderer = FigureCanvasAgg(figure).get_renderer()
        notes = [child for child in axes.get_children() if isinstance(child, Annotation)]
        boxes = []
        for note in notes:
            note.update_positions(renderer)
            boxes.append(Text.get_window_extent(note, renderer))
        centres = axes.transData.transform(points)
    assert left == []
    assert len(boxes) == len(points)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert not any(box.contains(*centre) for box in boxes for centre in centres)


def test_a_label_without_room_is_left_to_the_legend() -> None:
    crowd = [(f"student-{index}", (1.0, 1.0), "black") for index in range(60)]
    with canvas(4, 3) as figure:
        axes = figure.subplots()
        axes.plot([0, 2], [0, 2], "o")
        left = place(figure, axes, crowd, [])
        written = {child.get_text() for child in axes.get_children() if isinstance(child, Annotation)}
    assert written
    assert left
    assert written | {text for text, *_ in left} == {text for text, *_ in crowd}
    assert not written & {text for text, *_ in left}


def test_every_model_is_named_once_beside_its_point_or_in_the_legend(make_record, make_card, sample) -> None:
    names = [f"a-student-with-a-name-of-some-length-{number}" for number in range(MAX_CURVES)]
    findings = [
        m.model_copy(update={"model": name})
        for name in names
        for m in sample.measurements
        if m.model == "student-kd" and m.metric in {"top1", "latency_mean_ns"}
    ]
    cards = [make_card("student-kd", id=name, name=name) for name in names]
    drawing = accuracy_latency(make_record(models=cards, measurements=findings, pairs=(), warnings=()))
    texts = [text for text in words_in_order(drawing.svg) if text.startswith("a-student")]
    assert sorted(texts) == sorted(names)


@pytest.mark.parametrize("length", [5, 30, 200])
def test_legend_fits_and_leaves_the_axes_their_size(length: int) -> None:
    names = [f"{number:02}{'m' * length}" for number in range(40)]
    with canvas(8, 4) as figure:
        axes = figure.subplots()
        lines = [axes.plot([0, 1], [0, number])[0] for number in range(40)]
        legend_below(figure, lines, names)
        FigureCanvasAgg(figure).draw()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert axes.get_window_extent().height > 200


@pytest.mark.parametrize(("name", "expected"), [("conv1", "conv1"), ("abcdefghijklmnop", "ab…jklmnop")])
def test_long_names_are_shortened_in_the_middle(name: str, expected: str) -> None:
    assert short(name, 10) == expected


def test_an_interval_without_end_does_not_flatten_the_values() -> None:
    with canvas(4, 3) as figure:
        axes = figure.subplots()
        axes.set_yscale("log")
        axes.plot([1, 2], [20.0, 30.0])
        axes.errorbar([2], [30.0], yerr=[[29.99], [1e6]])
        log_ticks(axes.yaxis, "{:g}".format, [20.0, 30.0])
        assert axes.get_ylim() == pytest.approx((4.0, 150.0))


def test_a_dollar_in_a_name_is_a_dollar() -> None:
    with canvas(4, 3) as figure:
        figure.subplots().set_title("$x^2$ and $\\frac{a")
        svg = to_svg(figure)
    assert "$x^2$ and $\\frac{a" in svg


@pytest.mark.parametrize(
    ("values", "scale", "labels"),
    [
        ([0.1, 0.2, 0.5, 1.0], "linear", ["0.1", "0.2", "0.5", "1"]),
        ([3750, 7500, 15000, 30000, 58800], "log", ["3750", "7500", "15000", "30000", "58800"]),
        ([1, 100], "log", ["1", "100"]),
        ([0, 5000, 5001, 10000], "linear", ["0", "5000", "", "10000"]),
    ],
)
def test_the_labels_of_a_sweep_do_not_overlap(values, scale, labels):
    with canvas(4.5, 2.9) as figure:
        axes = figure.subplots()
        places, numeric = value_places(values)
        axes.plot(list(places.values()), list(places.values()))
        set_value_axis(axes, places, numeric=numeric)
        assert axes.get_xscale() == scale
        assert [label.get_text() for label in axes.get_xticklabels()] == labels
        FigureCanvasAgg(figure).draw()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
