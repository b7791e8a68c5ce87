"""Intervals are tested by drawing from processes whose truth is known and counting how often they hold it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kdbench import statistics

DRAWS = 400
BLOCKS, PER_BLOCK = 12, 4
MU = 10.0


def sessions(rng, count, kind, draws=DRAWS):
    """Log times of `draws` runs, (draws, sessions, calls): a session effect of 5 %, and calls that vary by 3 %."""
    calls = BLOCKS * PER_BLOCK
    effect = 0.05 * rng.standard_normal((draws, count, 1))
    noise = 0.03 * rng.standard_normal((draws, count, calls))
    if kind == "autocorrelated":
        rho = 0.9
        for t in range(1, calls):
            noise[..., t] = rho * noise[..., t - 1] + np.sqrt(1 - rho**2) * noise[..., t]
    if kind == "drifting":
        noise += 0.04 * rng.standard_normal((draws, count, 1)) * np.linspace(-1, 1, calls)
    if kind == "outliers":
        noise += (rng.random(noise.shape) < 0.03) * rng.exponential(0.25, noise.shape)
    return MU + effect + noise


def clustered(log_times):
    count, calls = log_times.shape
    return statistics.Clustered(
        np.exp(log_times).ravel(),
        np.repeat(np.arange(count), calls),
        np.tile(np.repeat(np.arange(BLOCKS), PER_BLOCK), count),
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "autocorrelated", "drifting", "outliers"])
@pytest.mark.parametrize("count", [5, 8])
def test_latency_intervals_cover(kind, count):
    long_run = sessions(np.random.default_rng(99), 1, kind, draws=60_000)
    shares = (0.5, 0.9, 0.95)
    truth = [*np.exp(np.quantile(long_run, shares)), np.exp(long_run).mean()]
    hits = np.zeros(4)
    for log_times in sessions(np.random.default_rng(count), count, kind):
        data = clustered(log_times)
        estimates = [*statistics.clustered_quantiles(data, shares), statistics.clustered_mean(data)]
        hits += [e.low <= t <= e.high for e, t in zip(estimates, truth, strict=True)]
    assert ((hits / DRAWS >= 0.90) & (hits / DRAWS <= 0.99)).all(), hits / DRAWS


@pytest.mark.parametrize("count", [5, 8])
def test_ratio_interval_covers_and_pairing_removes_the_shared_drift(count):
    rng = np.random.default_rng(count)
    hits, width = 0, []
    for _ in range(DRAWS):
        machine = 0.3 * rng.standard_normal((count, 1)) + 0.2 * rng.standard_normal((count, 20)).cumsum(axis=1)
        own = 0.02 * rng.standard_normal((2, count, 1)) + 0.03 * rng.standard_normal((2, count, 20))
        teacher, student = machine + own[0] + np.log(3.0), machine + own[1]
        estimate = statistics.paired_ratio(list(teacher - student))
        hits += estimate.low <= 3.0 <= estimate.high
        width.append(np.log(estimate.high / estimate.low))
    assert 0.90 <= hits / DRAWS <= 0.99
    assert np.mean(width) < 0.1  # the machine itself varies by ±30 %


def test_admissible_percentiles_are_loadgens():
    # mlperf inference policies, "early stopping": 64, 130 and 662 queries, one of them discarded.
    assert [statistics.samples_needed(p) for p in (90, 95, 99)] == [64, 130, 662]


@given(st.lists(st.floats(0.1, 1e9), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99]))
def test_order_statistic_is_numpys_inverted_cdf(values, share):
    array = np.array(values)
    expected = np.quantile(array, share, method="inverted_cdf")
    assert statistics.order_statistic(array, share) == expected


def test_quantiles_of_clusters_are_the_pooled_order_statistics():
    data = clustered(sessions(np.random.default_rng(0), 5, "outliers", draws=1)[0])
    for share, estimate in zip((0.5, 0.9), statistics.clustered_quantiles(data, (0.5, 0.9)), strict=True):
        assert estimate.value == statistics.order_statistic(data.values, share)
        assert estimate.low < estimate.value < estimate.high
        assert estimate.n == len(data.values)


def test_intervals_are_the_same_each_time():
    data = clustered(sessions(np.random.default_rng(0), 5, "plain", draws=1)[0])
    assert statistics.clustered_quantiles(data, (0.5,)) == statistics.clustered_quantiles(data, (0.5,))
    assert statistics.clustered_mean(data) == statistics.clustered_mean(data)


def test_large_samples_are_resampled_in_parts(monkeypatch):
    data = clustered(sessions(np.random.default_rng(0), 5, "plain", draws=1)[0])
    whole = statistics.clustered_quantiles(data, (0.5, 0.9))
    monkeypatch.setattr(statistics, "_GATHER", 7 * len(data.values))
    assert statistics.clustered_quantiles(data, (0.5, 0.9)) == whole


def test_one_session_gives_a_value_without_an_interval():
    data = statistics.Clustered(np.array([1.0, 2.0, 3.0]), np.zeros(3, int), np.zeros(3, int))
    (median,) = statistics.clustered_quantiles(data, (0.5,))
    assert (median.value, median.low, median.high, median.n) == (2.0, None, None, 3)
    assert statistics.paired_ratio([np.log([2.0, 2.0])]).low is None
    assert statistics.session_spread(data) == 0


@pytest.mark.parametrize(("successes", "n"), [(0, 20), (3, 20), (20, 20), (9173, 10_000)])
def test_binomial_share_is_scipys_wilson(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    found = statistics.binomial_share(successes, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.low <= found.value <= found.high


def test_mean_is_scipys_t_interval():
    values = np.random.default_rng(0).normal(3, 1, 40)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = statistics.mean(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


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
    found = statistics.median(values)
    assert (found.low, found.value, found.high, found.n) == (k, (n + 1) / 2, n + 1 - k, n)


def test_the_medians_interval_covers_whatever_the_distribution():
    drawn = np.random.default_rng(1).exponential(1.0, (2000, 6)) ** 2
    hits = sum(e.low <= np.log(2) ** 2 <= e.high for e in map(statistics.median, drawn))
    assert 0.95 <= hits / 2000 <= 0.985


def test_five_values_do_not_bound_a_median():
    found = statistics.median(np.arange(5.0))
    assert (found.value, found.low, found.high) == (2, None, None)


def test_a_rate_turns_the_interval_of_its_time_round():
    found = statistics.rate(statistics.Estimate(1e6, 0.5e6, 2e6, 7), 16)
    assert (found.value, found.low, found.high, found.n) == (16_000, 8_000, 32_000, 7)
    assert statistics.rate(statistics.Estimate(1e6, None, None, 1), 1).low is None
