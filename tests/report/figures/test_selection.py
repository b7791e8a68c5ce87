"""Figures of many models show as many as can be told apart, and say so."""

import pytest
from report.figures.svg_words import words

from benchmarks.growth.records import Parts, synthetic_record
from kdbench.report.figures.latency import speedup
from kdbench.report.figures.scaling import latency_threads
from kdbench.report.figures.selection import (
    FEW_CURVES,
    MAX_CURVES,
    MAX_ROWS,
    curves_of,
    drawn_order,
    drawn_points,
    limited,
)
from kdbench.report.figures.tradeoff import accuracy_latency
from kdbench.report.model_groups import model_groups
from kdbench.results.records import RunRecord, measured

PARTS = Parts(classes=0, energy=False, offline=False, layers=False, seeds=False, faults=False)
SINGLE = {"provider": "cpu", "threads": 1, "batch": 1}


@pytest.fixture(scope="module")
def many() -> RunRecord:
    """A record of 60 models, three of them teachers."""
    return synthetic_record(60, parts=PARTS)


def test_few_models_keep_the_tables_order() -> None:
    record = synthetic_record(MAX_CURVES, parts=PARTS)
    assert drawn_order(record) == model_groups(record)


def test_of_many_models_teachers_and_the_front_come_first(many: RunRecord) -> None:
    order = drawn_order(many)
    groups = model_groups(many)
    assert sorted(group.label for group in order) == sorted(group.label for group in groups)
    first = [group.label for group in order[:FEW_CURVES]]
    assert {group.label for group in groups if group.role == "teacher"} <= set(first)
    points = {
        card.id: (many.find(card.id, "latency_mean_ns", threads=1, batch=1).value, many.find(card.id, "top1").value)
        for card in many.models
    }
    front = {
        id_
        for id_, (x, y) in points.items()
        if not any(a <= x and b >= y and (a, b) != (x, y) for a, b in points.values())
    }
    assert len(front) > 1
    assert front <= set(first)


def test_many_teachers_leave_places_to_the_front(many: RunRecord) -> None:
    names = [card.id for card in many.models]
    best = [*names[-4:], "teacher-0"]  # each faster and worse than the one before: the front
    times = {name: 10e6 / 2 ** best.index(name) if name in best else 20e6 for name in names}
    scores = {name: 0.9 - 0.1 * best.index(name) if name in best else 0.1 for name in names}
    numbers = [
        measured(name, metric, values[name], axes=axes)
        for name in names
        for metric, values, axes in (("top1", scores, {}), ("latency_mean_ns", times, SINGLE))
    ]
    roles = dict.fromkeys(names[: 2 * FEW_CURVES], "teacher")
    cards = [card.model_copy(update={"role": roles.get(card.id, "student")}) for card in many.models]
    record = many.model_copy(update={"models": tuple(cards), "measurements": tuple(numbers)})
    first = [group.label for group in drawn_order(record)[:FEW_CURVES]]
    assert {*best} <= {*first}
    assert len({*first} & {*roles}) == FEW_CURVES - len(names[-4:])


@pytest.mark.parametrize(("count", "kept"), [(3, 3), (5, 5), (6, 2)])
def test_a_figure_has_all_models_or_says_how_many_it_shows(count: int, kept: int) -> None:
    shown, note = limited(range(count), most=5, few=2)
    assert shown == list(range(kept))
    assert note == ("" if kept == count else f" {kept} of {count} models are shown; `record.json` has all.")


def test_curves_are_at_most_as_many_as_looks() -> None:
    assert [len(curves_of(range(count))[0]) for count in (MAX_CURVES, MAX_CURVES + 1)] == [MAX_CURVES, FEW_CURVES]


def test_figures_of_many_models_do_not_grow_with_them(many: RunRecord) -> None:
    labels = {group.label for group in model_groups(many)}
    curves, bars, points = latency_threads(many), speedup(many), accuracy_latency(many)
    assert len(words(curves.svg) & labels) == FEW_CURVES
    assert len(words(bars.svg) & labels) == MAX_ROWS
    assert len(words(points.svg) & labels) == FEW_CURVES
    assert f"{FEW_CURVES} of 60 models are shown" in curves.caption
    assert f"{60 - FEW_CURVES} more models" in points.caption


def test_a_long_curve_keeps_its_ends_and_its_extremes() -> None:
    values = [0.0] * 1000
    values[333], values[334], values[777] = -5.0, 9.0, 7.0
    drawn = drawn_points(values, most=100)
    assert {0, 333, 334, 777, 999} <= set(drawn)
    assert len(drawn) <= 100
    assert drawn == sorted(drawn)


def test_a_short_curve_keeps_every_point() -> None:
    assert drawn_points([3.0, 1.0, 2.0], most=3) == [0, 1, 2]
