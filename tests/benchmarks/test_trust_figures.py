"""What is made of many repeats: scatter, coverage, earlier stops, agreement with the peer."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.trust.replay import PRECISIONS, replayed
from benchmarks.trust.summary import Answer, coverage, scatter
from benchmarks.trust.tables.peer_table import agreement
from kdbench import statistics


def test_scatter_is_of_logarithms():
    values = [1.9, 2.0, 2.2, 2.1]
    result = scatter(values)
    assert result.long_run == pytest.approx(stats.gmean(values))
    assert result.sd == pytest.approx(math.log(stats.gstd(values)))
    assert (result.low, result.high, result.n) == (1.9, 2.2, 4)


def test_one_repeat_does_not_scatter():
    assert scatter([3.0]).sd is None


def test_an_interval_holds_its_ends():
    answers = [Answer(2.0, 1.9, 2.1), Answer(2.1, 2.0, 2.2), Answer(2.2, 2.1, 2.3)]
    result = coverage(answers, 2.0)
    assert (result.held, result.n) == (2, 3)
    assert result.half_width == pytest.approx(0.1 / 2.1)


def test_the_goal_of_36_in_40_is_told_with_its_own_interval():
    answers = [Answer(1.0, 0.9, 1.1)] * 36 + [Answer(2.0, 1.9, 2.1)] * 4
    share = coverage(answers, 1.0).share
    exact = stats.binomtest(36, 40).proportion_ci(method="wilson")
    assert (share.value, share.low, share.high) == pytest.approx((0.9, exact.low, exact.high))


THREE = statistics.Plan(first=5, cores=3)


def sessions(spread: float, number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [math.log(5) + spread * rng.standard_normal() + 0.01 * rng.standard_normal(40) for _ in range(number)]


def test_alike_sessions_stop_at_the_least():
    for stop, precision in zip(replayed(sessions(1e-4, 9), THREE), PRECISIONS, strict=True):
        assert (stop["precision"], stop["reached"], stop["sessions"]) == (precision, True, 5)


def test_unlike_sessions_use_the_budget_up():
    rounds = sessions(0.5, 9)
    whole = statistics.paired_ratio(rounds, plan=THREE)
    for stop in replayed(rounds, THREE):
        assert (stop["reached"], stop["sessions"]) == (False, 9)
        assert (stop["ratio"], stop["low"], stop["high"]) == (whole.value, whole.low, whole.high)


def test_a_stop_knows_nothing_of_later_sessions():
    rounds = sessions(0.02, 20)
    stop = replayed(rounds, THREE)[0]
    assert stop["reached"]
    assert 5 <= stop["sessions"] < 20
    assert replayed(rounds[: stop["sessions"]], THREE)[0] == stop


def test_few_sessions_are_replayed_as_they_are():
    assert replayed(sessions(0.5, 2), THREE)[0]["sessions"] == 2


@pytest.mark.parametrize(
    ("ours", "theirs", "limit", "holds"),
    [
        (5_000, 14_999, 10_000, True),  # small models: 10 µs
        (5_000, 15_001, 10_000, False),
        (2_041_000, 2_000_000, 40_000, False),  # large ones: 2 %
        (1_961_000, 2_000_000, 40_000, True),
    ],
)
def test_agreement_is_within_two_per_cent_or_ten_microseconds(ours, theirs, limit, holds):
    result = agreement([ours] * 10, [theirs] * 10)
    assert result.limit_ns == pytest.approx(limit)
    assert result.difference_ns.value == ours - theirs
    assert result.holds is holds


def test_agreement_pairs_processes_that_took_turns():
    drift = np.linspace(100_000, 200_000, 12)
    result = agreement(list(drift + 1_000), list(drift))
    assert (result.difference_ns.low, result.difference_ns.high) == pytest.approx((1_000, 1_000))
