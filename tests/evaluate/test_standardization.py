import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy, zscore

from kdbench.distill.losses.logits import standardize
from kdbench.evaluate.divergence import kl_divergences, standardized, standardized_kl

# Ahad, "Knowledge Distillation Techniques: Analysis and Comparison", tables of section 2.1: logits of the teacher, of a
# student that is wrong (a bird, a truck), of one that is right (a dog, a deer); KL as printed, raw and standardized.
FOUR = np.array([[1, 4, 3, 2]]), np.array([[1, 2.8, 3, 2]]), np.array([[0.1, 0.4, 0.3, 0.2]])
TEN = (
    np.array([[1, 4, 0.5, 1.5, 7, 2, 2.5, 3, 3.5, 4.5]]),
    np.array([[1.1, 4.2, 0.6, 1.6, 6.8, 2.1, 2.6, 3.1, 3.6, 7.5]]),
    np.array([[0.1, 0.4, 0.05, 0.15, 0.7, 0.2, 0.25, 0.3, 0.35, 0.45]]),
)


@pytest.mark.parametrize(
    ("logits", "raw", "after"),
    [(FOUR, ("0.1749", "0.3457"), ("0.1347", "0.0000")), (TEN, ("0.7192", "1.2317"), ("0.1923", "0.0000"))],
)
def test_the_toys_of_the_study_to_every_printed_digit(logits, raw, after):
    teacher, *students = logits
    log_t = log_softmax(teacher, axis=1)
    assert tuple(f"{kl_divergences(log_t, log_softmax(s, axis=1))[0]:.4f}" for s in students) == raw
    assert tuple(f"{standardized_kl(teacher, s)[0]:.4f}" for s in students) == after


def test_the_toys_standardized_logits_as_printed():
    assert f"{standardized(FOUR[0])[0, 0]:.2f} {standardized(FOUR[1])[0, 0]:.2f}" == "-1.34 -1.52"
    printed = [f"{standardized(z)[0, [0, -1]].round(2).tolist()}" for z in TEN]
    assert printed == ["[-1.07, 0.85]", "[-1.02, 1.91]", "[-1.07, 0.85]"]


@pytest.mark.parametrize(("std", "ddof"), [("population", 0), ("unbiased", 1)])
def test_both_deviations_against_scipy_and_against_the_loss_that_trains(std, ddof):
    logits = np.random.default_rng(0).normal(3, 5, (20, 9))
    np.testing.assert_allclose(standardized(logits, std), zscore(logits, axis=1, ddof=ddof), rtol=1e-6)
    np.testing.assert_allclose(standardized(logits, std), standardize(torch.from_numpy(logits), std), rtol=1e-6)


def test_divergence_against_scipy():
    t, s = np.random.default_rng(1).normal(0, 4, (2, 30, 8))
    expected = entropy(softmax(t, axis=1), softmax(s, axis=1), axis=1)
    np.testing.assert_allclose(kl_divergences(log_softmax(t, axis=1), log_softmax(s, axis=1)), expected)


def test_log_probabilities_serve_for_logits():
    t, s = np.random.default_rng(2).normal(0, 4, (2, 30, 8))
    np.testing.assert_allclose(
        standardized_kl(t, s), standardized_kl(log_softmax(t, axis=1), log_softmax(s, axis=1)), atol=1e-12
    )


def test_equal_logits_are_no_division_by_zero():
    np.testing.assert_array_equal(standardized(np.full((2, 5), 3.0)), 0)
