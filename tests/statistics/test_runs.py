"""Intervals across runs: by hand, and by how often they hold the long-run value of drawn runs."""

import math

import numpy as np
import pytest
from scipy import stats

from kdbench.statistics import Estimate, RunSpread, across_runs, run_spread


def estimate(log, half=0.01):
    return Estimate(math.exp(log), math.exp(log - half), math.exp(log + half), 100)


def test_a_single_run_has_the_presumed_deviation_with_the_degrees_of_five_runs():
    spread = run_spread([estimate(0.0)], 0.04)
    assert spread == RunSpread(0.04, 4.0, 0)
    assert spread.half_width == pytest.approx(stats.t.ppf(0.975, 4) * 0.04)


def test_several_runs_are_pooled_with_the_presumption_less_what_their_own_intervals_explain():
    logs, half = [0.0, 0.1, 0.05, -0.02], 0.02
    within = (half / 1.96) ** 2
    between = np.var(logs, ddof=1) - within
    spread = run_spread([estimate(log, half) for log in logs], 0.04)
    assert spread.deviation == pytest.approx(math.sqrt((4 * 0.04**2 + 3 * between) / 7))
    assert (spread.degrees, spread.runs) == (7, 3)


def test_runs_that_their_own_intervals_explain_narrow_the_presumption():
    spread = run_spread([estimate(0.0, 0.5), estimate(0.1, 0.5)], 0.04)
    assert spread.deviation == pytest.approx(0.04 * math.sqrt(4 / 5))


def test_a_run_whose_sessions_disagree_is_no_further_off_than_runs_like_it_are():
    logs = [0.0, 0.02, -0.02, 0.01, -0.01, 0.0]
    earlier = [estimate(log) for log in logs]
    wide = across_runs(estimate(0.03, 0.4), run_spread([*earlier, estimate(0.03, 0.4)], 0.04))
    variance = (4 * 0.04**2 + 5 * np.var(logs, ddof=1)) / 9
    half = stats.t.ppf(0.975, 9) * math.sqrt(variance * (1 + 1 / 6))
    assert math.log(wide.high / wide.value) == pytest.approx(half)
    assert math.log(wide.value / wide.low) == pytest.approx(half)


def test_a_run_unlike_the_earlier_ones_or_with_few_before_it_keeps_its_own_interval():
    unlike, like = estimate(0.3, 0.4), estimate(0.0, 0.4)
    for runs in ([*(estimate(0.01 * k) for k in range(6)), unlike], [*(estimate(0.01 * k) for k in range(4)), like]):
        spread = run_spread(runs, 0.04)
        assert spread.max_half_width is None
        assert math.log(across_runs(runs[-1], spread).high / runs[-1].value) >= 0.4


def test_intervals_hold_on_a_machine_whose_neighbour_slows_some_sessions():
    """A tenth of runs have slow sessions: mostly too few to move the median by much, and then the interval is wide."""
    rng, held, narrow = np.random.default_rng(2), [], []
    for _ in range(60):
        earlier = []
        for number in range(40):
            slowed = rng.random() < 0.1
            log = 0.02 * rng.standard_normal() + (0.4 if slowed and rng.random() < 0.2 else 0.0)
            earlier.append(estimate(log, 0.4 if slowed else 0.01))
            wide = across_runs(earlier[-1], run_spread(earlier, 0.04))
            held.append(wide.low <= 1 <= wide.high)
            if slowed and log < 0.2 and number > 5:
                narrow.append(math.log(wide.high / wide.value) < 0.3)
    assert np.mean(held) > 0.93
    assert np.mean(narrow) > 0.9


def test_half_widths_add_in_quadrature_on_each_side():
    narrow = Estimate(1.0, math.exp(-0.03), math.exp(0.05), 7)
    wide = across_runs(narrow, RunSpread(0.04))
    half = RunSpread(0.04).half_width
    assert math.log(wide.low) == pytest.approx(-math.hypot(0.03, half))
    assert math.log(wide.high) == pytest.approx(math.hypot(0.05, half))
    assert (wide.value, wide.n) == (1.0, 7)


def test_without_an_interval_there_is_none_across_runs():
    bare = Estimate(1.0, None, None, 1)
    assert across_runs(bare, RunSpread(0.04)) == bare
    assert run_spread([bare, bare], 0.04) == RunSpread(0.04)


@pytest.mark.parametrize("deviation", [0.01, 0.04, 0.12])
def test_intervals_that_learn_hold_the_long_run_value_whatever_the_machine(deviation):
    """Of 40 runs the last 30: an unsteady machine is known after a few."""
    rng, held, runs = np.random.default_rng(1), [], 40
    for _ in range(60):
        earlier = []
        for log in deviation * rng.standard_normal(runs):
            earlier.append(estimate(log + 0.005 * rng.standard_normal()))
            wide = across_runs(earlier[-1], run_spread(earlier, 0.04))
            held.append(wide.low <= 1 <= wide.high)
    shares = np.mean(np.reshape(held, (60, runs))[:, 10:])
    assert shares > 0.93
