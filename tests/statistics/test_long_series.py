"""The segments of long series are those that trying every number of steps finds."""

import numpy as np
import pytest

from kdbench.statistics import change_points
from kdbench.statistics.long_series import best_starts


def exhaustive(values, least):
    n = len(values)
    squares, cuts = change_points._partitions(values, most=n // 3)
    variances = np.maximum(squares / n, least**2)
    return cuts[
        int(np.argmin(n * np.log(variances) + squares / variances + change_points.penalty(n) * np.arange(len(cuts))))
    ]


@pytest.mark.parametrize("least", [1e-6, 0.02, 0.2])
@pytest.mark.parametrize("steps", [0, 1, 3, 8])
def test_segments_are_those_of_the_exhaustive_search(steps, least):
    rng = np.random.default_rng(steps)
    for n in (20, 61, 120):
        places = np.sort(rng.choice(np.arange(2, n - 2), steps, replace=False))
        values = rng.normal(0, 0.05, n) + np.searchsorted(places, np.arange(n)) * rng.choice([0.05, 0.3])
        assert best_starts(values, least**2, change_points.penalty(n), 2) == exhaustive(values, least)


def test_a_long_series_without_scatter_has_its_steps():
    values = np.repeat([1.0, 2.0, 1.0, 3.0], [150, 100, 70, 80])
    assert change_points.find_steps(values, 0.0).starts == (0, 150, 250, 320)
