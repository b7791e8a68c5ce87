"""Main effects against numbers that are computed by hand, or from the model that made the scores."""

import numpy as np
import pytest

from kdbench.report.effects import main_effects
from kdbench.report.figures.effects import axis_effects
from kdbench.report.tables.effects import effects
from kdbench.results.records import measured


@pytest.fixture
def swept(make_record, make_card):
    """A record of a sweep: scores by its values on the axes `t` and `e`, one a seed."""

    def make(scores):
        cards, numbers = [], []
        for (t, e), values in scores.items():
            for seed, value in enumerate(values):
                name = f"s-{t}-{e}"
                cards.append(
                    make_card(
                        "student-kd", id=f"{name}-{seed}", name=name, seed=seed, family="s", axes={"t": t, "e": e}
                    )
                )
                numbers.append(measured(cards[-1].id, "top1", value, n=100))
        return make_record(models=cards, measurements=numbers, pairs=(), warnings=(), recipe=None)

    return make


def levels(record):
    (family,) = main_effects(record)
    return {(axis.axis, level.value): level for axis in family.axes for level in axis.levels}


def test_on_a_complete_grid_they_are_the_means(swept):
    effects = levels(swept({(1, 2): [0.5], (1, 5): [0.7], (4, 2): [0.6], (4, 5): [0.9]}))
    assert {key: round(level.mean, 6) for key, level in effects.items()} == {
        ("t", 1): 0.6, ("t", 4): 0.75, ("e", 2): 0.55, ("e", 5): 0.8,
    }  # fmt: skip
    assert effects["e", 5].effect == pytest.approx(0.125)
    assert (effects["t", 1].points, effects["t", 1].mean_interval) == (2, None)


def test_the_shares_of_the_variation_are_those_of_an_analysis_of_variance(swept):
    record = swept({(1, 2): [0.5], (1, 5): [0.7], (4, 2): [0.6], (4, 5): [0.9]})
    (family,) = main_effects(record)
    total = np.var([0.5, 0.7, 0.6, 0.9])
    assert [axis.share for axis in family.axes] == pytest.approx([0.075**2 / total, 0.125**2 / total])


def test_a_seed_that_is_better_everywhere_widens_means_and_not_effects(swept):
    shift = np.array([0.0, 0.1, 0.2])
    effects = levels(
        swept({(t, e): list(0.3 + 0.1 * (t == 4) + 0.05 * (e == 5) + shift) for t in (1, 4) for e in (2, 5)})
    )
    level = effects["t", 4]
    assert level.effect == pytest.approx(0.05)
    assert level.effect_interval.low == pytest.approx(0.05)
    half = 4.302653 * np.std(shift, ddof=1) / np.sqrt(3)  # Student's t of 2 degrees of freedom, 97.5 %
    assert level.mean_interval.high - level.mean == pytest.approx(half, rel=1e-5)


def test_no_accuracy_leaves_the_range_of_a_share(swept):
    effects = levels(swept({(t, e): [0.1 + 0.1 * (t == 4), 0.7 - 0.6 * (t == 4)] for t in (1, 4) for e in (2, 5)}))
    wide, effect = effects["t", 1].mean_interval, effects["t", 1].effect_interval
    # Means of 0.1 and 0.7, and effects of -0.05 and 0.3: Student's t of 1 degree of freedom is 12.7.
    assert (wide.low, wide.high) == (0.0, 1.0)
    assert (effect.low, effect.high) == (-1.0, 1.0)


def test_where_points_are_missing_an_additive_score_is_found_again(swept):
    effect = {1: -0.1, 4: 0.0, 10: 0.1}
    scores = {
        (t, e): [0.5 + effect[t] + 0.02 * e] for t in effect for e in (1, 2, 3) if (t, e) not in {(1, 1), (10, 3)}
    }
    record = swept(scores)
    effects = levels(record)
    assert {t: round(effects["t", t].effect, 6) for t in effect} == effect
    assert effects["e", 3].mean == pytest.approx(0.5 + 0.06)
    assert all(axis.share is None for axis in main_effects(record)[0].axes)


@pytest.mark.parametrize(
    "scores",
    [
        {(1, 1): [0.5], (2, 2): [0.6], (3, 3): [0.7], (4, 4): [0.8]},  # no value occurs twice
        {(1, 1): [0.5], (1, 2): [0.6], (1, 3): [0.7]},  # one axis alone changes
        {(1, 1): [0.5], (2, 2): [0.6]},
    ],
)
def test_axes_that_the_points_do_not_tell_apart_have_none(swept, scores):
    record = swept(scores)
    assert main_effects(record) == ()
    assert not effects(record).shown
    assert axis_effects(record) is None


def test_the_table_has_a_row_a_value_and_marks_the_best_of_each_axis(swept):
    table = effects(swept({(t, e): [0.1 * t + 0.01 * e, 0.1 * t + 0.012 * e] for t in (1, 2) for e in (2, 5)}))
    rows = [[cell.text for cell in row.cells[1:4]] for row in table.rows]
    assert rows == [["t", "1", "2"], ["t", "2", "2"], ["e", "2", "2"], ["e", "5", "2"]]
    assert [row.cells[4].best for row in table.rows] == [False, True, False, True]
    assert [row.cells[5].text for row in table.rows][:2] == ["-5.00", "+5.00"]


def test_the_figure_has_a_panel_an_axis(swept):
    scores = {(t, e): [0.1 * t, 0.1 * t + 0.01 * (e == "b")] for t in (1, 2) for e in ("a", "b")}
    drawing = axis_effects(swept(scores))
    assert ">t<" in drawing.svg
    assert ">e<" in drawing.svg
    assert drawing.svg.count(">a<") == 1
