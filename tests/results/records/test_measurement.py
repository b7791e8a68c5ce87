"""Single results: the interval of a difference of two."""

import pytest

from kdbench.results.records import difference
from kdbench.statistics import binomial_share


def test_two_shares_have_newcombes_interval():
    # Newcombe (1998), Statistics in Medicine 17, table II: 56/70 - 48/80 by method 10.
    first, second = binomial_share(56, 70), binomial_share(48, 80)
    low, high = difference((second.value, second.low, second.high), (first.value, first.low, first.high))
    assert (low, high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_symmetric_intervals_add_up_in_quadrature():
    assert difference((10, 7, 13), (20, 16, 24)) == (5, 15)
    assert difference((0, 0, 0), (1, 1, 1), extra=0.5) == (0.5, 1.5)
