"""Estimates against other implementations and published numbers; how often intervals hold is tested beside this."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kdbench import statistics
from kdbench.recipe import MIN_PRECISION
from kdbench.statistics import clustered, estimates, few_sessions
from kdbench.statistics.clustered import kept_core

BLOCKS, PER_BLOCK = 12, 4


def run(count, seed=0):
    """Log times of one run, (sessions, calls): a session effect of 5 %, calls that vary by 3 %, a few outliers."""
    rng = np.random.default_rng(seed)
    noise = 0.03 * rng.standard_normal((count, BLOCKS * PER_BLOCK))
    noise += (rng.random(noise.shape) < 0.03) * rng.exponential(0.25, noise.shape)
    return 10 + 0.05 * rng.standard_normal((count, 1)) + noise


def observations(log_times):
    count, calls = log_times.shape
    return statistics.Clustered(
        np.exp(log_times).ravel(),
        np.repeat(np.arange(count), calls),
        np.tile(np.repeat(np.arange(BLOCKS), PER_BLOCK), count),
    )


def test_admissible_percentiles_are_loadgens():
    # mlperf inference policies, "early stopping": 64, 130 and 662 queries, one of them discarded.
    assert [statistics.samples_needed(p) for p in (90, 95, 99)] == [64, 130, 662]


@given(st.lists(st.floats(0.1, 1e9), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99]))
def test_order_statistic_is_numpys_inverted_cdf(values, share):
    array = np.array(values)
    expected = np.quantile(array, share, method="inverted_cdf")
    assert np.sort(array)[estimates.rank_of(share, len(array))] == expected


def test_quantiles_of_clusters_are_the_pooled_order_statistics():
    data = observations(run(5))
    for share, estimate in zip((0.5, 0.9), statistics.clustered_quantiles(data, (0.5, 0.9)), strict=True):
        assert estimate.value == np.quantile(data.values, share, method="inverted_cdf")
        assert estimate.low < estimate.value < estimate.high
        assert estimate.n == len(data.values)


def test_intervals_are_the_same_each_time():
    data = observations(run(5))
    assert statistics.clustered_quantiles(data, (0.5,)) == statistics.clustered_quantiles(data, (0.5,))
    assert statistics.clustered_mean(data) == statistics.clustered_mean(data)


@pytest.mark.parametrize("table", [1, 200, 1 << 22])
def test_a_drawn_quantile_is_that_of_the_repeated_observations(monkeypatch, table):
    monkeypatch.setattr(clustered, "_TABLE", table)  # bins of one width or another
    rng = np.random.default_rng(0)
    ordered, block = np.sort(rng.normal(size=240)), rng.integers(0, 30, 240)
    weights = rng.integers(0, 4, (50, 30)).astype(float)
    result = clustered.drawn_quantiles(ordered, block, weights, (0.01, 0.5, 0.95, 1.0))
    for draw, weight in enumerate(weights):
        repeated = np.repeat(ordered, weight[block].astype(int))
        expected = np.quantile(repeated, (0.01, 0.5, 0.95, 1.0), method="inverted_cdf")
        assert (result[:, draw] == expected).all()


def test_sessions_are_drawn_with_as_many_blocks_as_they_have():
    sessions = np.repeat([0, 1, 2], [3, 5, 2])
    both, alone = clustered.drawn_weights(sessions, 2, np.random.default_rng(0))
    assert (alone[:, :3].sum(axis=1) == 3).all()
    assert (alone[:, 3:8].sum(axis=1) == 5).all()
    times = np.stack([both[:, :3].sum(axis=1) / 3, both[:, 3:8].sum(axis=1) / 5])
    assert (times.sum(axis=0) == 2).all()
    assert times.std() > 0.5  # sqrt(1/2): Binomial(2, 1/2)
    assert not both[:, 8:].any()
    assert not alone[:, 8:].any()


def test_ratio_of_single_rounds_is_students_t_widened_for_neighbours_that_are_alike():
    logs = np.array([0.1, 0.3, 0.2, 0.25, 0.15])
    result = statistics.paired_ratio([np.array([value]) for value in logs])
    half = stats.t.ppf(0.975, 4) * stats.sem(logs) * np.sqrt(few_sessions.inflation(logs))
    half = np.hypot(half, stats.norm.ppf(0.975) * few_sessions.RESOLUTION)
    assert (np.log(result.low), np.log(result.high)) == pytest.approx((logs.mean() - half, logs.mean() + half))
    assert result.value == pytest.approx(np.exp(logs.mean()))
    assert result.n == 5


def test_sessions_that_agree_entirely_leave_what_runs_differ_by():
    result = statistics.paired_ratio([np.full(10, 0.7)] * 12)
    assert np.log([result.low, result.high]) == pytest.approx([0.7 - 0.00196, 0.7 + 0.00196], rel=1e-5)
    shared = statistics.Plan(resolution=few_sessions.SHARED_RESOLUTION)
    beside_neighbours = statistics.paired_ratio([np.full(10, 0.7)] * 12, plan=shared)
    assert np.log([beside_neighbours.low, beside_neighbours.high]) == pytest.approx(
        [0.7 - 0.0294, 0.7 + 0.0294], rel=1e-4
    )
    assert statistics.relative_width(beside_neighbours) == pytest.approx(shared.least_width, rel=1e-3)


def test_no_precision_can_be_asked_for_that_no_interval_has():
    assert statistics.Plan().least_width <= MIN_PRECISION < 1.05 * statistics.Plan().least_width


def test_sessions_that_are_alike_on_each_core_widen_an_interval():
    turns = np.array([0.0, 0.3, 0.6] * 6)
    apart = statistics.paired_ratio([np.array([value]) for value in turns])
    known = statistics.paired_ratio([np.array([value]) for value in turns], plan=statistics.Plan(cores=3))
    assert statistics.relative_width(known) > 1.3 * statistics.relative_width(apart)
    assert few_sessions.inflation(np.arange(4.0), cores=7) == few_sessions.inflation(np.arange(4.0))  # none came back


def test_sessions_weigh_alike_however_many_rounds_they_have():
    result = statistics.paired_ratio([np.log([2.0]), np.log([4.0, 4.0, 4.0, 100.0, 0.1]), np.log([8.0, 8.0])])
    assert result.value == pytest.approx(4.0)
    assert result.n == 8


def test_redrawn_median_has_the_bootstraps_variance():
    rounds = np.random.default_rng(0).normal(size=21)
    drawn = np.median(np.random.default_rng(1).choice(rounds, (40_000, 21)), axis=1)
    sessions = [rounds, rounds]  # two sessions of one median: what is left is what rounds add
    result = statistics.paired_ratio(sessions)
    half = stats.norm.ppf(0.975) * drawn.std() / np.sqrt(2)
    assert np.log(result.high / result.value) == pytest.approx(half, rel=0.02)


@pytest.mark.parametrize("rho", [0.2, 0.85])
def test_inflation_is_the_variance_of_an_ar1_mean_over_what_its_sample_variance_tells(rho):
    s, values = 6, np.array([1.0, 2.0, 0.5, 1.5, 2.5, 1.0])
    off = values - values.mean()
    measured = (s * (off[1:] @ off[:-1]) / (off @ off) + 1) / 6
    correlation = rho ** np.abs(np.subtract.outer(np.arange(s), np.arange(s)))
    of_mean = correlation.mean()
    of_sample = (s - correlation.sum() / s) / (s - 1)
    assert few_sessions.inflation(values, margin=rho - measured) == pytest.approx(of_mean / (of_sample / s))
    assert few_sessions.inflation(values, margin=-2.0) == 1
    assert few_sessions.inflation(np.ones(5), margin=0.0) > 1


def test_sessions_added_after_a_look_cannot_make_an_interval_narrower_than_steins():
    agreeing = [np.array([value]) for value in (0.0, 0.3, -0.2, 0.1, -0.1)]
    more = [*agreeing, *(np.array([0.02]) for _ in range(5))]
    look, stopped = statistics.paired_ratio(agreeing), statistics.paired_ratio(more, plan=statistics.Plan(first=5))
    expected = np.log(look.high / look.value) * np.sqrt(5 / 10)
    assert np.log(stopped.high / stopped.value) == pytest.approx(expected, rel=1e-3)  # the same is added to both
    assert np.log(stopped.high / stopped.value) > np.log(statistics.paired_ratio(more).high / stopped.value)
    assert statistics.paired_ratio(more, plan=statistics.Plan(first=10)) == statistics.paired_ratio(more)
    data = observations(run(10))
    for estimate in (statistics.clustered_mean, lambda *a, **k: statistics.clustered_quantiles(*a, (0.9,), **k)[0]):
        assert statistics.relative_width(estimate(data, plan=statistics.Plan(first=5))) >= statistics.relative_width(
            estimate(data)
        )


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


def test_one_session_gives_a_value_without_an_interval():
    data = statistics.Clustered(np.array([1.0, 2.0, 3.0]), np.zeros(3, int), np.zeros(3, int))
    (median,) = statistics.clustered_quantiles(data, (0.5,))
    assert (median.value, median.low, median.high, median.n) == (2.0, None, None, 3)
    assert statistics.paired_ratio([np.log([2.0, 2.0])]).low is None
    assert statistics.session_spread(data) == 0


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


def counted(preempted, sessions=4, per_block=3):
    """Return one block a number, how often it lost its core: calls of 1 where that is harmless, else of 9."""
    blocks = np.array(preempted).reshape(sessions, -1)
    session, block = np.indices(blocks.shape)
    parts = (np.repeat(array.ravel(), per_block) for array in (np.where(blocks > 2, 9.0, 1.0), session, block, blocks))
    return statistics.Clustered(*parts)


def test_blocks_that_lost_their_core_often_are_left_out():
    data = statistics.undisturbed(counted([[0, 1, 4], [0, 3, 0], [2, 0, 2], [0, 0, 3]]))
    assert set(data.values) == {1.0}
    assert np.bincount(data.session).tolist() == [6, 6, 9, 6]


def test_a_session_with_too_few_undisturbed_blocks_is_left_out():
    data = statistics.undisturbed(counted([[0, 0], [0, 3], [0, 0], [0, 0], [0, 0]], sessions=5))
    assert np.unique(data.session).tolist() == [0, 2, 3, 4]


@pytest.mark.parametrize(("lost", "kept"), [(10, True), (11, False)])
def test_long_blocks_may_lose_their_core_a_hundred_times_a_second(lost, kept):
    assert bool(kept_core(np.array([lost]), np.array([1e8]))[0]) is kept


@pytest.mark.parametrize("preempted", [[[3, 3], [3, 3], [0, 0], [0, 0]], [[3, 3]] * 4])
def test_where_too_few_sessions_are_left_every_block_counts(preempted):
    data = counted(preempted)
    assert statistics.undisturbed(data) is data


def test_blocks_that_nobody_counted_all_count():
    data = replace(counted([[0, 3]] * 4), preempted=None)
    assert statistics.undisturbed(data) is data


def test_a_prediction_is_for_one_more_observation():
    rng, held = np.random.default_rng(0), 0
    for _ in range(2000):
        logs = 0.2 * rng.standard_normal(4)
        predicted = statistics.prediction(np.exp(logs[:-1]))
        held += predicted.low <= math.exp(logs[-1]) <= predicted.high
    assert 0.93 < held / 2000 < 0.97
    assert statistics.prediction(np.array([5.0])) == statistics.Estimate(5.0, None, None, 1)
