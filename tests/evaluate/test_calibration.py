import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from kdbench.evaluate.accuracy import expected_calibration_error


@given(st.integers(0, 1000), st.integers(2, 12), st.floats(0.1, 20))
def test_against_torchmetrics(seed, classes, sharpness):
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(200, classes))
    labels = rng.integers(0, classes, 200)
    log_p = log_softmax(logits, 1)
    theirs = multiclass_calibration_error(
        torch.from_numpy(np.exp(log_p)), torch.from_numpy(labels), classes, n_bins=15, norm="l1"
    )
    assert expected_calibration_error(log_p, labels) == pytest.approx(float(theirs), abs=1e-6)


def test_by_hand():
    # Two bins of ten: (.8, .9] holds two samples of confidence .9, one right; (.5, .6] two of .6, both right.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    labels = np.array([0, 1, 0, 1])
    assert expected_calibration_error(np.log(p), labels, bins=10) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_a_model_that_knows_is_calibrated_and_one_that_is_sure_and_wrong_is_not():
    sure = np.log(np.full((50, 2), [1 - 1e-12, 1e-12]))
    assert expected_calibration_error(sure, np.zeros(50, np.int64)) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(sure, np.ones(50, np.int64)) == pytest.approx(1, abs=1e-9)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    p = np.array([[0.6, 0.4], [0.55, 0.45]])  # of ten bins both lie in (.5, .6]
    labels = np.array([0, 1])
    assert expected_calibration_error(np.log(p), labels, bins=10) == pytest.approx(abs(0.5 - 0.575))
