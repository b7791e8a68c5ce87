"""Dominations against a look at every pair of points."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.report.domination import Domination, Point, Range, domination, dominations


def certain(value):
    return Range(value, value, value)


def around(value, half):
    return Range(value, value - half, value + half)


RANGES = st.one_of(
    st.integers(1, 6).map(certain),
    st.integers(1, 6).map(Range),
    st.builds(around, st.integers(1, 6), st.sampled_from([0.4, 1.5])),
)
POINTS = st.lists(st.builds(Point, RANGES, RANGES), min_size=1, max_size=8)


def beats(other, one):
    """Whether one point dominates another by values, looked at without regard to any order."""
    return (
        other.cost.value <= one.cost.value
        and other.score.value >= one.score.value
        and (other.cost.value < one.cost.value or other.score.value > one.score.value)
    )


def apart(other, one):
    """Whether one point costs no more and scores better for certain."""
    return other.cost.high <= one.cost.low and other.score.low > one.score.high


@given(POINTS)
def test_who_is_dominated_is_judged_by_values(points):
    for one, how in zip(points, dominations(points), strict=True):
        others = [other for other in points if beats(other, one)]
        assert (how is None) == (not others)
        assert how is None or points[how.by] in others


@given(POINTS)
def test_a_domination_that_intervals_settle_comes_first(points):
    for one, how in zip(points, dominations(points), strict=True):
        if any(apart(other, one) for other in points):
            assert how.settled


@given(POINTS)
def test_settled_differences_are_apart(points):
    for place, how in enumerate(dominations(points)):
        if how is None:
            continue
        one, other = points[place], points[how.by]
        assert how.cost_settled == (other.cost.value == one.cost.value or other.cost.high <= one.cost.low)
        assert how.score_settled == (other.score.value == one.score.value or other.score.low > one.score.high)
        assert domination(points, how.by, place) is None


def test_a_cheaper_model_within_the_intervals_dominates_unsettled():
    points = [Point(certain(4), around(90, 2)), Point(certain(1), around(91, 2))]
    assert dominations(points) == [Domination(1, cost_settled=True, score_settled=False), None]
    assert not dominations(points)[0].settled


def test_equal_models_do_not_dominate_each_other():
    twin = Point(certain(1), around(90, 2))
    assert dominations([twin, twin]) == [None, None]


def test_nothing_is_settled_without_bounds():
    points = [Point(Range(4), Range(80)), Point(Range(1), Range(90))]
    assert dominations(points)[0] == Domination(1, cost_settled=False, score_settled=False)


def calls(points):
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        dominations(points)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("shape", [lambda k: (k, k), lambda k: (k, -k)], ids=["all on the front", "one on the front"])
def test_the_work_does_not_grow_with_the_square(shape):
    few, many = ([Point(*map(certain, shape(k))) for k in range(n)] for n in (50, 500))
    assert calls(many) < 15 * calls(few)
