"""The intervals of changes."""

import json
from pathlib import Path

import numpy as np
import pytest

from kdbench.judge.compare.deltas import between_same_images
from kdbench.results.metrics.metric import BETWEEN_RUNS

MEDIANS = Path(__file__).parents[2] / "records" / "medians_of_forty_runs.json"


def test_paired_predictions_against_mcnemars_test():
    # With 20 lost and 4 gained of 1000, McNemar's chi-square (20 - 4)^2 / 24 = 10.7 is beyond 3.84: significant.
    base, new = np.zeros(1000, bool), np.zeros(1000, bool)
    base[:20], new[20:24], base[24:900], new[24:900] = True, True, True, True
    delta = between_same_images(base, new)
    assert delta.value == pytest.approx(-1.6)
    assert delta.high < 0
    # and with 6 and 4 it is 0.4: not.
    base[6:20] = False
    assert between_same_images(base, new).low < 0 < between_same_images(base, new).high


def test_times_of_one_machine_scatter_between_runs_as_declared():
    medians = json.loads(MEDIANS.read_text())  # latency_p50_ns of each model of reports/trust
    scatter = [float(np.std(np.log(values), ddof=1)) for values in medians.values()]
    assert len(scatter) == 4
    assert all(len(values) == 40 for values in medians.values())
    assert float(np.mean(scatter)) == pytest.approx(BETWEEN_RUNS, abs=0.002)
    assert all(0.037 < deviation < 0.046 for deviation in scatter)
