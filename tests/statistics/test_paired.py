"""Paired successes against other implementations, a published number and coverage by drawing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kdbench import statistics

COUNTS = st.integers(0, 400)


@given(COUNTS, COUNTS)
def test_mcnemar_against_scipys_binomial(first, second):
    k, n = min(first, second), first + second
    exact = stats.binomtest(k, n, 0.5).pvalue if n else 1.0
    point = stats.binom.pmf(k, n, 0.5) if first != second else 0.0
    assert statistics.mcnemar(first, second) == pytest.approx(exact - point, rel=1e-9, abs=1e-300)


def test_p_of_dependent_tests_is_twice_the_mean():
    assert statistics.p_of_dependent_tests([0.01, 0.03, 0.02]) == pytest.approx(0.04)
    assert statistics.p_of_dependent_tests([0.4, 0.9]) == 1


def test_mcnemar_of_a_published_table():
    # Fagerland, Lydersen and Laake 2013, table 1: 1 and 7 of 21 discordant; exact p 0.070, mid-p 0.039.
    assert round(statistics.mcnemar(1, 7), 3) == 0.039
    assert statistics.mcnemar(7, 1) == statistics.mcnemar(1, 7)
    assert statistics.mcnemar(0, 0) == statistics.mcnemar(4, 4) == 1
    assert 0 <= statistics.mcnemar(0, 2000) < 1e-300


@given(st.integers(1, 300), st.data())
def test_an_exact_share_against_scipy(n, data):
    hits = data.draw(st.integers(0, n))
    expected = stats.binomtest(hits, n).proportion_ci(0.95, "exact")
    share = statistics.exact_share(hits, n)
    assert (share.value, share.n) == (hits / n, n)
    assert (share.low, share.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("n", [30, 1000])
@pytest.mark.parametrize("mean", [0.15, 0.2, 1.0, 4.0])
def test_an_exact_share_holds_its_level_for_rare_successes(mean, n):
    held = sum(
        stats.binom.pmf(hits, n, mean / n)
        for hits in range(n + 1)
        if (share := statistics.exact_share(hits, n)).low <= mean / n <= share.high
    )
    assert held >= 0.95


@pytest.mark.parametrize(
    ("sizes", "lost", "gained"),
    [([100] * 10, 0.03, 0.01), ([100] * 50, 0.30, 0.10), ([1000] * 10, 0.10, 0.05), ([400, 400, 12, 3], 0.05, 0.05)],
)
def test_the_interval_of_the_worst_group_allows_for_the_choice(sizes, lost, gained):
    draws, sizes = 400, np.array(sizes)
    rng = np.random.default_rng(3)
    first = rng.binomial(sizes, lost, (draws, len(sizes)))
    second = rng.binomial(sizes - first, gained / (1 - lost))
    results = [statistics.largest_paired_difference(a, b, sizes) for a, b in zip(first, second, strict=True)]
    held = np.mean([worst.low <= lost - gained <= worst.high for _, worst in results])
    assert held >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / draws)


def test_the_worst_group_is_the_first_of_the_largest_difference():
    counts = np.array([2, 9, 9]), np.array([1, 1, 1]), np.array([100, 200, 200])
    place, worst = statistics.largest_paired_difference(*counts)
    assert (place, worst.value, worst.n) == (1, 0.04, 200)
    alone = statistics.paired_share_difference(9, 1, 200)
    assert worst.low < alone.low < alone.high < worst.high


def test_a_group_of_few_samples_keeps_the_high_end_up():
    """Nothing is lost in it, but what it may lose is not known."""
    many = statistics.largest_paired_difference(np.array([30, 0]), np.array([0, 0]), np.array([1000, 1000]))[1]
    few = statistics.largest_paired_difference(np.array([30, 0]), np.array([0, 0]), np.array([1000, 2]))[1]
    assert (many.value, many.low) == (few.value, few.low)
    assert many.high < 0.06
    assert few.high > 0.5


def test_of_one_group_it_is_the_difference_itself():
    place, worst = statistics.largest_paired_difference(np.array([5]), np.array([2]), np.array([50]))
    assert (place, worst) == (0, statistics.paired_share_difference(5, 2, 50))


@given(st.integers(1, 60), st.data(), st.sampled_from([0.95, 0.995, 0.99995]))
def test_a_paired_difference_lies_in_its_interval(n, data, level):
    lost = data.draw(st.integers(0, n))
    gained = data.draw(st.integers(0, n - lost))
    result = statistics.paired_share_difference(lost, gained, n, level=level)
    assert -1 <= result.low <= result.value <= result.high <= 1
