"""The intervals of changes."""

import json
from pathlib import Path

import numpy as np
import pytest

from kdbench.judge.compare.deltas import on_same_images, recovered
from kdbench.results.metrics.metric import BETWEEN_RUNS
from kdbench.statistics import binomial_share

MEDIANS = Path(__file__).parents[2] / "records" / "medians_of_forty_runs.json"


def test_two_shares_have_newcombes_interval():
    # Newcombe (1998), Statistics in Medicine 17, table II: 56/70 - 48/80 by method 10.
    first, second = binomial_share(56, 70), binomial_share(48, 80)
    low, high = recovered((second.value, second.low, second.high), (first.value, first.low, first.high))
    assert (low, high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_symmetric_intervals_add_up_in_quadrature():
    assert recovered((10, 7, 13), (20, 16, 24)) == (5, 15)
    assert recovered((0, 0, 0), (1, 1, 1), extra=0.5) == (0.5, 1.5)


def test_paired_predictions_against_mcnemars_test():
    # With 20 lost and 4 gained of 1000, McNemar's chi-square (20 - 4)^2 / 24 = 10.7 is beyond 3.84: significant.
    base, new = np.zeros(1000, bool), np.zeros(1000, bool)
    base[:20], new[20:24], base[24:900], new[24:900] = True, True, True, True
    delta = on_same_images(base, new)
    assert delta.value == pytest.approx(-1.6)
    assert delta.high < 0
    # and with 6 and 4 it is 0.4: not.
    base[6:20] = False
    assert on_same_images(base, new).low < 0 < on_same_images(base, new).high


def test_times_of_one_machine_scatter_between_runs_as_declared():
    medians = json.loads(MEDIANS.read_text())  # latency_p50_ns of each model of reports/trust
    scatter = [float(np.std(np.log(values), ddof=1)) for values in medians.values()]
    assert len(scatter) == 4
    assert all(len(values) == 40 for values in medians.values())
    assert float(np.mean(scatter)) == pytest.approx(BETWEEN_RUNS, abs=0.002)
    assert all(0.037 < deviation < 0.046 for deviation in scatter)
