"""Estimates against other implementations and published numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kdbench import statistics
from kdbench.statistics import estimates


def test_admissible_percentiles_are_loadgens():
    # mlperf inference policies, "early stopping": 64, 130 and 662 queries, one of them discarded.
    assert [statistics.samples_needed(p) for p in (90, 95, 99)] == [64, 130, 662]


@given(st.lists(st.floats(0.1, 1e9), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99]))
def test_order_statistic_is_numpys_inverted_cdf(values, share):
    array = np.array(values)
    expected = np.quantile(array, share, method="inverted_cdf")
    assert np.sort(array)[estimates.rank_of(share, len(array))] == expected


def test_relative_width_is_infinite_without_an_interval():
    assert statistics.relative_width(statistics.Estimate(2.0, 1.5, 2.5, 5)) == 0.5
    assert statistics.relative_width(statistics.Estimate(2.0, None, None, 1)) == np.inf


@pytest.mark.parametrize("n", [6, 9, 20, 40])
def test_median_is_scipys_distribution_free_interval(n):
    values = np.random.default_rng(n).normal(size=n)
    expected = stats.quantile_test(values, q=0.0, p=0.5).confidence_interval(0.95)
    result = statistics.median(values)
    assert (result.low, result.high) == (expected.low, expected.high)
    assert statistics.median(values[:5]).low is None


@pytest.mark.parametrize(("successes", "n"), [(0, 20), (3, 20), (20, 20), (9173, 10_000)])
def test_binomial_share_is_scipys_wilson(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    result = statistics.binomial_share(successes, n)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert result.low <= result.value <= result.high


def test_mean_is_scipys_t_interval():
    values = np.random.default_rng(0).normal(3, 1, 40)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    result = statistics.mean(values)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("first", "second"), [(0.02, 0.02), (0.01, 0.03), (0.2, 0.1)])
def test_paired_difference_covers(first, second):
    rng = np.random.default_rng(0)
    n, hits = 500, 0
    for only_first, only_second, _ in rng.multinomial(n, [first, second, 1 - first - second], size=2000):
        estimate = statistics.paired_share_difference(int(only_first), int(only_second), n)
        hits += estimate.low <= first - second <= estimate.high
    assert 0.93 <= hits / 2000 <= 0.98


def test_no_discordant_sample_is_not_certainty():
    estimate = statistics.paired_share_difference(0, 0, 100)
    assert estimate.value == 0
    assert estimate.low < 0 < estimate.high


@pytest.mark.parametrize(("n", "k"), [(6, 1), (8, 1), (9, 2), (10, 2), (15, 4), (20, 6), (25, 8)])
def test_the_medians_interval_has_the_tables_ranks(n, k):
    # Hollander & Wolfe, Nonparametric Statistical Methods: the sign test's critical values at 5 %, two-sided.
    values = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    result = statistics.median(values)
    assert (result.low, result.value, result.high, result.n) == (k, (n + 1) / 2, n + 1 - k, n)


def test_the_medians_interval_covers_whatever_the_distribution():
    drawn = np.random.default_rng(1).exponential(1.0, (2000, 6)) ** 2
    hits = sum(e.low <= np.log(2) ** 2 <= e.high for e in map(statistics.median, drawn))
    assert 0.95 <= hits / 2000 <= 0.985


def test_five_values_do_not_bound_a_median():
    result = statistics.median(np.arange(5.0))
    assert (result.value, result.low, result.high) == (2, None, None)


def test_a_rate_turns_the_interval_of_its_time_round():
    result = statistics.rate(statistics.Estimate(1e6, 0.5e6, 2e6, 7), 16)
    assert (result.value, result.low, result.high, result.n) == (16_000, 8_000, 32_000, 7)
    assert statistics.rate(statistics.Estimate(1e6, None, None, 1), 1).low is None


def test_a_mean_of_shares_counts_every_class_alike():
    one = statistics.mean_of_shares(np.array([7]), np.array([9]))
    assert one == statistics.binomial_share(7, 9)
    several = statistics.mean_of_shares(np.array([90, 1, 3]), np.array([100, 2, 3]))
    assert several.value == pytest.approx((0.9 + 0.5 + 1) / 3)
    assert several.n == 105


@pytest.mark.parametrize("shares", [(0.9, 0.6, 0.3), (0.99, 0.5)], ids=str)
def test_the_interval_of_a_mean_of_shares_covers(shares):
    """MOVER from Wilson's limits: 95 % of the intervals hold the mean, classes of 200 to 20 samples apart."""
    rng, totals = np.random.default_rng(0), np.array([200, 40, 20][: len(shares)])
    hits = rng.binomial(totals, shares, (3000, len(shares)))
    intervals = [statistics.mean_of_shares(row, totals) for row in hits]
    held = np.mean([interval.low <= np.mean(shares) <= interval.high for interval in intervals])
    assert 0.935 <= held <= 0.98


def test_a_prediction_is_for_one_more_observation():
    rng, held = np.random.default_rng(0), 0
    for _ in range(2000):
        logs = 0.2 * rng.standard_normal(4)
        predicted = statistics.prediction(np.exp(logs[:-1]))
        held += predicted.low <= math.exp(logs[-1]) <= predicted.high
    assert 0.93 < held / 2000 < 0.97
    assert statistics.prediction(np.array([5.0])) == statistics.Estimate(5.0, None, None, 1)


def test_mean_over_trainings_adds_the_samples_error_to_that_of_the_trainings():
    shares = [statistics.binomial_share(hits, 400) for hits in (360, 364, 371)]
    values = [share.value for share in shares]
    result = statistics.mean_over_trainings(shares)
    trainings = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    wilson = [stats.binomtest(hits, 400).proportion_ci(method="wilson") for hits in (360, 364, 371)]
    below = np.mean([share - own.low for share, own in zip(values, wilson, strict=True)])
    above = np.mean([own.high - share for share, own in zip(values, wilson, strict=True)])
    mean = np.mean(values)
    assert result.value == pytest.approx(mean)
    assert result.low == pytest.approx(mean - np.hypot(mean - trainings[0], below))
    assert result.high == pytest.approx(mean + np.hypot(trainings[1] - mean, above))
    assert result.n == 3


def test_mean_over_trainings_without_intervals_is_the_mean():
    values = np.array([0.91, 0.93, 0.9])
    trainings = [statistics.Estimate(value, None, None, 1) for value in values]
    assert statistics.mean_over_trainings(trainings) == statistics.mean(values)


def test_mean_over_trainings_covers_the_accuracy_on_new_samples():
    """Three trainings on the same 300 samples, some of them hard for all: their scatter alone covers too seldom."""
    rng, draws, n = np.random.default_rng(4), 400, 300
    difficulty = rng.normal(scale=3, size=(draws, 1, n))
    skill = 2 + rng.normal(scale=0.1, size=(draws, 3, 1))
    hits = (rng.random((draws, 3, n)) < 1 / (1 + np.exp(difficulty - skill))).sum(axis=2)
    truth = np.mean(1 / (1 + np.exp(-2 + np.hypot(3, 0.1) * rng.normal(size=1_000_000))))
    both = [statistics.mean_over_trainings([statistics.binomial_share(int(k), n) for k in row]) for row in hits]
    trainings = [statistics.mean(row / n) for row in hits]
    assert np.mean([result.low <= truth <= result.high for result in both]) >= 0.95
    assert np.mean([result.low <= truth <= result.high for result in trainings]) < 0.9
