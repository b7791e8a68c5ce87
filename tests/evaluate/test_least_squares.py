"""The closed form of noisy linear regression against its textbook formula, and against the average of many draws."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.evaluate.least_squares import LinearProblem

RNG = np.random.default_rng(3)
FEATURES, TEST = RNG.normal(size=(60, 5)), RNG.normal(size=(400, 5))
BETA, TAUGHT = RNG.normal(size=(5, 2)), RNG.normal(size=(5, 2))
STD = 0.7


def problem(share, labels=None):
    clean = FEATURES @ BETA
    labels = clean + STD * RNG.normal(size=clean.shape) if labels is None else labels
    taught = FEATURES @ (BETA + 0.1 * TAUGHT)
    return LinearProblem(FEATURES, labels, clean, STD, taught, share, TEST, TEST @ BETA)


def formula(share):
    """(1 - w)² σ² tr((XᵀX)⁻¹Σ) + w² |β_t - β*|²_Σ, the mean over the components; X with a column of ones."""
    x, t = (np.column_stack([values, np.ones(len(values))]) for values in (FEATURES, TEST))
    sigma = t.T @ t / len(t)
    variance = STD**2 * np.trace(np.linalg.inv(x.T @ x) @ sigma)
    gap = np.vstack([0.1 * TAUGHT, np.zeros((1, 2))])
    bias = np.einsum("fd,fg,gd->d", gap, sigma, gap).mean()
    return (1 - share) ** 2 * variance + share**2 * bias, variance / (variance + bias)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_expected_error_is_the_formulas(share):
    assert problem(share).expected_mse() == pytest.approx(formula(share)[0], rel=1e-9)


def test_the_solution_mixes_least_squares_on_the_labels_and_the_teachers_coefficients():
    share, one = 0.3, problem(0.3)
    x, t = (np.column_stack([values, np.ones(len(values))]) for values in (FEATURES, TEST))
    ols, of_teacher = (np.linalg.inv(x.T @ x) @ x.T @ y for y in (one.labels, one.teacher_predictions))
    beta = (1 - share) * ols + share * of_teacher
    assert one.closed_form_mse() == pytest.approx(((t @ beta - TEST @ BETA) ** 2).mean(), rel=1e-9)


def test_it_is_the_minimum_of_the_objective():
    """By gradient descent on the two weighted squared errors."""
    share, one = 0.3, problem(0.3)
    x = np.column_stack([FEATURES, np.ones(60)])
    beta = np.zeros((6, 2))
    for _ in range(2000):
        beta -= 0.2 / 60 * x.T @ ((1 - share) * (x @ beta - one.labels) + share * (x @ beta - one.teacher_predictions))
    reached = ((np.column_stack([TEST, np.ones(400)]) @ beta - TEST @ BETA) ** 2).mean()
    assert one.closed_form_mse() == pytest.approx(reached, rel=1e-6)


def test_over_many_draws_of_the_noise_the_closed_form_is_the_expected_error_on_average():
    drawn = [problem(0.3).closed_form_mse() for _ in range(600)]
    assert np.mean(drawn) == pytest.approx(formula(0.3)[0], abs=4 * np.std(drawn) / 600**0.5)


def test_the_best_share_of_the_teacher_is_that_of_the_noise():
    best = formula(0)[1]
    errors = [problem(share).expected_mse() for share in (best - 0.05, best, best + 0.05)]
    assert errors[1] == min(errors)
    assert errors[1] == pytest.approx(formula(best)[0])


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_under_a_teacher_without_error_what_remains_is_the_variance(share):
    """Labels are its predictions plus noise (Hao's equation 7.1): the error is that of least squares times (1 - w)²."""
    one = replace(problem(share), teacher_predictions=FEATURES @ BETA)
    alone = replace(one, share=0.0)
    for error in (LinearProblem.closed_form_mse, LinearProblem.expected_mse):
        assert error(one) == pytest.approx((1 - share) ** 2 * error(alone), abs=1e-12)


def test_with_fewer_samples_than_coefficients_there_is_no_one_solution():
    one = problem(0.5)
    few = {key: getattr(one, key)[:5] for key in ("features", "labels", "clean", "teacher_predictions")}
    assert one.is_determined
    assert not replace(one, **few).is_determined
