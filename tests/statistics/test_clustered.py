"""Estimates of calls that cluster in blocks and sessions, and the blocks that count."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from kdbench import statistics
from kdbench.statistics import clustered
from kdbench.statistics.clustered import rarely_preempted

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


def test_one_session_gives_a_value_without_an_interval():
    data = statistics.Clustered(np.array([1.0, 2.0, 3.0]), np.zeros(3, int), np.zeros(3, int))
    (median,) = statistics.clustered_quantiles(data, (0.5,))
    assert (median.value, median.low, median.high, median.n) == (2.0, None, None, 3)
    assert statistics.paired_ratio([np.log([2.0, 2.0])]).low is None
    assert statistics.session_spread(data) == 0


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
    assert bool(rarely_preempted(np.array([lost]), np.array([1e8]))[0]) is kept


@pytest.mark.parametrize("preempted", [[[3, 3], [3, 3], [0, 0], [0, 0]], [[3, 3]] * 4])
def test_where_too_few_sessions_are_left_every_block_counts(preempted):
    data = counted(preempted)
    assert statistics.undisturbed(data) is data


def test_blocks_that_nobody_counted_all_count():
    data = replace(counted([[0, 3]] * 4), preempted=None)
    assert statistics.undisturbed(data) is data
