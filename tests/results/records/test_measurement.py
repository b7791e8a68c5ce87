"""Single results: what they share in memory, and the interval of a difference of two."""

import pytest

from kdbench.results.records import Interval, Measurement, difference, measured
from kdbench.statistics import binomial_share


def test_two_shares_have_newcombes_interval():
    # Newcombe (1998), Statistics in Medicine 17, table II: 56/70 - 48/80 by method 10.
    first, second = binomial_share(56, 70), binomial_share(48, 80)
    low, high = difference((second.value, second.low, second.high), (first.value, first.low, first.high))
    assert (low, high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_symmetric_intervals_add_up_in_quadrature():
    assert difference((10, 7, 13), (20, 16, 24)) == (5, 15)
    assert difference((0, 0, 0), (1, 1, 1), extra=0.5) == (0.5, 1.5)


def test_results_share_what_is_equal_and_a_copy_is_a_value_of_its_own():
    one, other = (
        measured(model, "top1", 0.5, axes={"part": "train"}, interval=Interval(low=0.4, high=0.6)) for model in "ab"
    )
    assert one.axes is other.axes
    assert one.model_fields_set is other.model_fields_set
    copy = one.model_copy(update={"model": "b", "n": 7})
    assert (one.model, one.n, copy.model, copy.n) == ("a", None, "b", 7)
    assert copy.model_copy(update={"n": None}) == other
    assert copy.model_fields_set == one.model_fields_set
    for value in (one, copy):
        assert Measurement.model_validate_json(value.model_dump_json()) == value
    with pytest.raises(ValueError, match="frozen"):
        one.value = 1.0
