"""Intervals of few sessions: what neighbours, cores and looks at the data add."""

import numpy as np
import pytest
from scipy import stats

from kdbench import statistics
from kdbench.recipe import MIN_PRECISION
from kdbench.statistics import few_sessions


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
