"""Steps in series whose truth is known: how many are invented, how many found, how well they are placed."""

import itertools
import math

import numpy as np
import pytest

from kdbench.statistics import change_points
from kdbench.statistics.change_points import MIN_POINTS, SHORTEST, exact_steps, find_steps, penalty

TEN_PER_CENT = math.log(1.1)


def noise(rng: np.random.Generator, n: int, correlation: float = 0.0) -> np.ndarray:
    """Return a series of unit variance whose neighbours have that correlation (AR(1))."""
    fresh = rng.normal(size=n)
    series = fresh.copy()
    for place in range(1, n):
        series[place] = correlation * series[place - 1] + math.sqrt(1 - correlation**2) * fresh[place]
    return series


def stepped(rng: np.random.Generator, n: int, at: int, step: float, deviation: float) -> np.ndarray:
    series = deviation * noise(rng, n)
    series[at:] += step
    return series


@pytest.mark.parametrize(("correlation", "most"), [(0.0, 0.03), (0.3, 0.07)])
@pytest.mark.parametrize("n", [5, 8, 12, 20, 40, 100])
def test_false_alarms_are_rare_over_whole_series(n, correlation, most):
    rng = np.random.default_rng(n)
    alarms = [bool(find_steps(noise(rng, n, correlation)).steps) for _ in range(400)]
    assert np.mean(alarms) <= most


def test_false_alarms_over_series_of_all_lengths_together():
    rng = np.random.default_rng(1)
    lengths = [5, 6, 8, 10, 15, 20, 30, 50, 100]
    white, drifting = (
        np.mean([bool(find_steps(noise(rng, n, correlation)).steps) for n in lengths for _ in range(200)])
        for correlation in (0.0, 0.3)
    )
    assert white <= 0.02
    assert drifting <= 0.055


def test_what_the_points_intervals_say_is_the_least_scatter():
    rng = np.random.default_rng(2)
    assert not any(find_steps(stepped(rng, 12, 6, 0.05, 0.005), least=0.04).steps for _ in range(100))
    assert all(find_steps(stepped(rng, 12, 6, 0.05, 0.005)).steps for _ in range(100))


@pytest.mark.parametrize(
    ("n", "deviation", "least", "segments"),
    [(10, 0.02, 0.0, 0.9), (20, 0.02, 0.04, 0.98), (30, 0.04, 0.04, 0.9), (60, 0.04, 0.04, 0.98)],
)
def test_a_step_of_ten_per_cent_is_found_where_it_is(n, deviation, least, segments):
    rng = np.random.default_rng(3)
    steps = [find_steps(stepped(rng, n, n // 2, TEN_PER_CENT, deviation), least).steps for _ in range(200)]
    assert np.mean([len(changes) >= 1 for changes in steps]) >= segments
    nearest = [min(abs(step.at - n // 2) for step in changes) for changes in steps if changes]
    assert np.mean([distance <= 1 for distance in nearest]) >= 0.85


def test_the_interval_of_a_step_holds_it():
    rng = np.random.default_rng(4)
    steps = [find_steps(stepped(rng, 24, 11, TEN_PER_CENT, 0.02)).steps for _ in range(400)]
    held = [step.low <= TEN_PER_CENT <= step.high for (step, *_) in steps]
    assert len(held) == 400
    assert np.mean(held) >= 0.91


def test_two_steps_up_and_down_again():
    rng = np.random.default_rng(5)
    series = stepped(rng, 40, 12, 0.2, 0.02)
    series[28:] -= 0.2
    segments = find_steps(series)
    assert segments.starts == (0, 12, 28)
    assert [step.change > 0 for step in segments.steps] == [True, False]
    assert segments.means[1] - segments.means[0] == pytest.approx(segments.steps[0].change)


def brute_force(values: np.ndarray, most: int) -> list[float]:
    """Return the least sum of squares for 0 to `most` steps, by trying every way to cut the series."""
    n, least = len(values), []
    for steps in range(most + 1):
        errors = []
        for cuts in itertools.combinations(range(1, n), steps):
            edges = (0, *cuts, n)
            if all(end - start >= SHORTEST for start, end in itertools.pairwise(edges)):
                pieces = [values[start:end] for start, end in itertools.pairwise(edges)]
                errors.append(sum(float(((piece - piece.mean()) ** 2).sum()) for piece in pieces))
        if errors:
            least.append(min(errors))
    return least


@pytest.mark.parametrize("n", [5, 6, 7, 9, 11])
def test_partitions_are_the_best_there_are(n):
    rng = np.random.default_rng(n)
    for _ in range(20):
        values = rng.normal(size=n) + 100.0
        squares, starts = change_points._partitions(values, most=4)
        assert squares == pytest.approx(brute_force(values, most=4), abs=1e-9)
        for square, cut in zip(squares, starts, strict=True):
            pieces = np.split(values, cut[1:])
            assert sum(((piece - piece.mean()) ** 2).sum() for piece in pieces) == pytest.approx(square, abs=1e-9)


def test_a_lone_outlier_is_no_step():
    series = np.full(12, 1.0) + 0.001 * np.arange(12) % 2
    series[6] = 3.0
    assert not find_steps(series, least=0.01).steps


def test_a_step_on_the_newest_point_shows_with_the_next():
    series = np.array([1.0, 1.001, 0.999, 1.0, 1.001, 1.2])
    assert not find_steps(series, least=0.001).steps
    assert find_steps(np.append(series, 1.201), least=0.001).starts == (0, 5)


@pytest.mark.parametrize("n", range(MIN_POINTS))
def test_few_points_are_one_level(n):
    segments = find_steps(np.arange(n, dtype=float))
    assert segments.starts == (0,)
    assert segments.steps == ()


def test_a_constant_series_has_no_step_and_one_of_two_constants_has_one():
    assert find_steps(np.zeros(9)).steps == ()
    segments = find_steps(np.array([5.0] * 6 + [5.5] * 4))
    assert segments.starts == (0, 6)
    assert segments.steps[0].change == pytest.approx(0.5)


def test_series_do_not_depend_on_where_zero_and_unit_are():
    rng = np.random.default_rng(6)
    series = stepped(rng, 25, 10, 0.3, 0.05)
    assert find_steps(1e6 + 1e3 * series).starts == find_steps(series).starts


def test_counts_have_a_step_wherever_they_differ():
    segments = exact_steps(np.array([4.0, 4.0, 5.0, 3.0, 3.0]))
    assert segments.starts == (0, 2, 3)
    assert [(step.at, step.change, step.low, step.high) for step in segments.steps] == [(2, 1, 1, 1), (3, -2, -2, -2)]
    assert exact_steps(np.array([])).means == ()


def test_the_penalty_grows_with_the_number_of_places_a_step_can_have():
    assert penalty(5) == pytest.approx(8.5 + 1.8 * math.log(5))
    assert penalty(100) > penalty(5) > 2 * math.log(5)
