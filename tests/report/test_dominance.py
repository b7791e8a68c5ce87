"""Dominations against a look at every pair of points."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.report.dominance import Dominance, Point, Range, dominance, dominances


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
def test_each_domination_is_one_by_values_and_settled_where_any_is(points):
    for place, how in enumerate(dominances(points)):
        one = points[place]
        dominating = [other for other in points if beats(other, one)]
        if how is None:
            assert not dominating
            continue
        other = points[how.by]
        assert other in dominating
        assert how.settled or not any(apart(point, one) for point in points)
        assert how.cost_settled == (other.cost.value == one.cost.value or other.cost.high <= one.cost.low)
        assert how.score_settled == (other.score.value == one.score.value or other.score.low > one.score.high)
        assert dominance(points, how.by, place) is None


def test_a_cheaper_model_within_the_intervals_dominates_unsettled():
    points = [Point(certain(4), around(90, 2)), Point(certain(1), around(91, 2))]
    assert dominances(points) == [Dominance(1, cost_settled=True, score_settled=False), None]
    assert not dominances(points)[0].settled


def test_equal_models_do_not_dominate_each_other():
    twin = Point(certain(1), around(90, 2))
    assert dominances([twin, twin]) == [None, None]


def test_nothing_is_settled_without_bounds():
    points = [Point(Range(4), Range(80)), Point(Range(1), Range(90))]
    assert dominances(points)[0] == Dominance(1, cost_settled=False, score_settled=False)


def calls(points):
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        dominances(points)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("shape", [lambda k: (k, k), lambda k: (k, -k)], ids=["all on the front", "one on the front"])
def test_the_work_does_not_grow_with_the_square(shape):
    few, many = ([Point(*map(certain, shape(k))) for k in range(n)] for n in (50, 500))
    assert calls(many) < 15 * calls(few)
