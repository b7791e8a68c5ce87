"""Intervals drawn from processes whose truth is known, and how often they hold it.

The processes are benchmarks/simulated_sessions.py; benchmarks/coverage_simulated.py prints them all with more draws.
"""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from kdbench.statistics import PLAIN, clustered, few_sessions

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


simulated, bound = load("simulated_sessions"), load("coverage_bound")

DRAWS, TRUTH_DRAWS = 200, 1000
ADAPTIVE = None
# Where the sessions of a run cannot show what the long run holds, less than 90 %, as `few_sessions` says.
DOCUMENTED = {
    ("sessions AR(1) 0.8", 5): 0.77,
    ("sessions AR(1) 0.8", 12): 0.89,
    ("sessions AR(1) 0.8", ADAPTIVE): 0.81,
    ("bad sessions, 5 %", 5): 0.87,
    ("bad sessions, 5 %", 12): 0.87,
    ("bad sessions, 5 %", ADAPTIVE): 0.87,
    ("bimodal sessions, 20 %", 5): 0.87,
    ("bimodal sessions, 20 %", ADAPTIVE): 0.87,
}
# Of processes that differ in degree, those that a rule for stopping has no harder time with than with another one: a
# fixed number of sessions is tried with all.
MILDER = {
    "sessions equal except for chance",
    "bimodal sessions, 35 %",
    "bimodal sessions, 50 %",
    "calls AR(1) 0.9",  # within a session, as the heavy tails
    "calls ×2 to ×10, 2 %",
    "sessions AR(1) 0.3",
    "sessions AR(1) 0.5, felt by half",
    "AR(1) 0.5 on each of 3 cores",
}


def named(name):
    (process,) = (p for p in simulated.PROCESSES if p.name == name)
    return process


def noise(share, draws):
    """Two standard errors of a coverage from so many draws."""
    return 2 * math.sqrt(share * (1 - share) / draws)


@pytest.fixture(autouse=True, scope="module")
def _cheap_bootstrap():
    """Draw a quarter of the bootstrap's weights, and reuse them in runs of one shape: drawing is half of the work.

    A standard error is then known to 7 % instead of 3.5 %, which changes a coverage by a thousandth or two.
    """
    draw, weights_by_input = clustered.drawn_weights, {}

    def drawn_weights(sessions, among, rng):
        key = (sessions.tobytes(), among, str(rng.bit_generator.state))
        if key not in weights_by_input:
            weights_by_input[key] = (draw(sessions, among, rng), rng.bit_generator.state)
        weights, rng.bit_generator.state = weights_by_input[key]
        return weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clustered, "DRAWS", clustered.DRAWS // 4)
        patch.setattr(clustered, "drawn_weights", drawn_weights)
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "sessions"),
    [
        pytest.param(process, sessions, id=f"{process.name}-{sessions}")
        for process in simulated.PROCESSES
        for sessions in (5, 12, ADAPTIVE)
        if process is not simulated.PLAIN  # the test after this one asks more of it
        # Few sessions, or a chosen number, are the hard cases.
        if (process.name, sessions) in DOCUMENTED
        or sessions == 5
        or (sessions is ADAPTIVE and process.name not in MILDER)
    ],
)
def test_intervals_cover(process, sessions):
    least = DOCUMENTED.get((process.name, sessions), 0.9)
    coverages = simulated.coverage(process, sessions, DRAWS, truth_draws=TRUTH_DRAWS)
    assert {s: c.held for s, c in coverages.items() if c.held < least - noise(least, DRAWS)} == {}
    assert coverages["ratio"].held >= 0.9 - noise(0.9, DRAWS)  # no excuse for a ratio


@pytest.mark.parametrize("sessions", [5, ADAPTIVE])
def test_intervals_of_a_quiet_machine_are_neither_too_narrow_nor_too_wide(sessions):
    for cell in simulated.coverage(simulated.PLAIN, sessions, 150, truth_draws=TRUTH_DRAWS).values():
        assert 0.9 <= cell.held <= 0.99 + noise(0.99, 150)


@pytest.mark.parametrize("name", ["random walk", "linear drift of 20 %"])
def test_pairing_removes_drift_that_both_models_share(name):
    cell = simulated.coverage(named(name), 5, 400, truth_draws=TRUTH_DRAWS)["ratio"]
    assert 0.9 <= cell.held <= 0.99
    assert cell.width < 0.1  # the machine itself drifts by 20 % and more


@pytest.mark.parametrize(("sessions", "rho"), [(5, 0.5), (5, 0.8), (8, 0.8)])
def test_little_could_be_won_on_sessions_that_are_alike(sessions, rho):
    draws, rng = 3000, np.random.default_rng(sessions)
    quiet, alike = (bound.normal_series(rng, draws, sessions, r) for r in (0.0, rho))
    student = stats.t.ppf(0.975, sessions - 1) * quiet.std(axis=1, ddof=1) / math.sqrt(sessions)
    widening = half_widths(quiet).mean() / student.mean()
    held = (np.abs(alike.mean(axis=1)) <= half_widths(alike)).mean()
    most = bound.best_coverage(sessions, rho, widening)
    assert most - 0.05 <= held <= most + noise(most, draws)
    assert np.median(half_widths(quiet)) / np.median(student) < 1.4


@pytest.mark.parametrize("name", ["bad sessions, 5 %", "bimodal sessions, 20 %"])
def test_a_state_is_missed_only_by_runs_that_no_session_was_in_it(name):
    process, p95 = named(name), simulated.STATISTICS.index("p95")
    rng = np.random.default_rng(0)
    truth = simulated.true_values(process.draw(rng, 4000, 5))[p95]
    runs = process.draw(rng, 300, 5)
    medians = np.median(runs[:, 0], axis=(2, 3))
    slow = (medians - np.median(medians)).max(axis=1) > 0.6 * process.slower
    estimates = [simulated.estimates(run, PLAIN, process.has_long_run)[p95] for run in runs]
    held = np.array([e.low <= truth <= e.high for e in estimates])
    assert held[slow].mean() >= 0.97
    assert held.mean() >= 0.87
    assert all(e.low <= truth for e in estimates)  # what is missed is missed upwards


def test_the_bound_is_students_t_where_sessions_are_independent():
    assert bound.best_coverage(5, 0.0, 1.0) == pytest.approx(0.95, abs=0.01)


def half_widths(series):
    """Half-widths of a latency's interval from sessions' values, (draws, sessions), in which blocks add nothing."""
    s = series.shape[1]
    return np.array([few_sessions.half_width(v.var() / s, 0.0, v) for v in series])
