"""Intervals of errors: values against numpy, and how often they hold the truth."""

import math

import numpy as np
import pytest

from kdbench import statistics

RNG = np.random.default_rng(0)


def test_values_are_those_of_the_plain_formulas():
    a, b = RNG.exponential(size=30), RNG.exponential(size=30)
    assert statistics.positive_mean(a).value == pytest.approx(a.mean())
    assert statistics.root_mean(a).value == pytest.approx(math.sqrt(a.mean()))
    assert statistics.root_mean_ratio(a, b).value == pytest.approx(math.sqrt(a.mean() / b.mean()))
    y, p = RNG.normal(size=(30, 2)), RNG.normal(size=(30, 2))
    by_component = [1 - ((y - p)[:, j] ** 2).sum() / ((y[:, j] - y[:, j].mean()) ** 2).sum() for j in (0, 1)]
    assert statistics.determination(p, y).value == pytest.approx(np.mean(by_component))


def test_an_error_of_zero_is_exact_and_a_single_sample_has_no_interval():
    none = statistics.root_mean(np.zeros(5))
    assert (none.value, none.low, none.high) == (0, 0, 0)
    assert statistics.positive_mean(np.ones(1)).low is None
    assert statistics.root_mean_ratio(np.ones(3), np.zeros(3)).value == math.inf
    assert math.isnan(statistics.determination(np.zeros((4, 1)), np.ones((4, 1))).value)
    assert math.isnan(statistics.determination(np.zeros((3, 1)), np.full((3, 1), 0.1)).value)
    assert statistics.determination(np.eye(4), np.eye(4)).high == 1


def held(estimates, truth):
    return np.mean([estimate.low <= truth <= estimate.high for estimate in estimates])


def test_intervals_hold_their_level():
    """Errors of 60 samples with known moments; the nominal level is 95 %, and errors of a variance are skewed."""
    mse, ratio, r2 = [], [], []
    for _ in range(1500):
        common, mine, its = RNG.normal(size=(3, 60))
        y = RNG.normal(scale=2, size=60)
        first, second = 0.5 * common + mine, 0.5 * common + 1.3 * its
        mse.append(statistics.positive_mean(first**2))
        ratio.append(statistics.root_mean_ratio(first**2, second**2))
        r2.append(statistics.determination((y - first)[:, None], y[:, None]))
    assert 0.92 < held(mse, 1.25) < 0.98
    assert 0.92 < held(ratio, math.sqrt(1.25 / 1.94)) < 0.98
    assert 0.92 < held(r2, 1 - 1.25 / 4) < 0.98


def test_a_ratio_of_the_same_samples_is_narrower_than_of_independent_ones():
    shared = RNG.normal(size=400)
    first, second = (shared + 0.1 * RNG.normal(size=400)) ** 2, (shared + 0.1 * RNG.normal(size=400)) ** 2
    paired, apart = statistics.root_mean_ratio(first, second), statistics.root_mean_ratio(first, second[::-1])
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)
