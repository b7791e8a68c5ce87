import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.metrics import log_loss

from kdbench.evaluate.fidelity import distilled_risks, empirical_risks, risk_variances


@given(st.integers(0, 10_000), st.integers(2, 6), st.floats(0.1, 5))
def test_lemma_1_where_the_probabilities_are_the_true_ones(seed, classes, sharpness):
    """All of a small world is enumerated, so that variances are exact.

    Gupta et al., "Exploring Knowledge Distillation", lemma 1; the difference is E_x Var[l | x], the law of total
    variance.
    """
    rng = np.random.default_rng(seed)
    places = 8
    p_x = rng.dirichlet(np.ones(places))
    log_p, log_s = (log_softmax(sharpness * rng.normal(size=(places, classes)), axis=1) for _ in range(2))
    p = np.exp(log_p)
    losses = np.stack([empirical_risks(log_s, np.full(places, y)) for y in range(classes)], axis=1)
    joint = p_x[:, None] * p
    empirical = (joint * losses**2).sum() - (joint * losses).sum() ** 2
    risks = distilled_risks(log_s, log_p)
    distilled = p_x @ risks**2 - (p_x @ risks) ** 2
    within = p_x @ ((p * losses**2).sum(1) - risks**2)
    assert p_x @ risks == pytest.approx((joint * losses).sum())  # both are unbiased
    assert distilled <= empirical + 1e-12
    assert empirical - distilled == pytest.approx(within)


def test_lemma_1_in_a_sample_of_labels():
    rng = np.random.default_rng(0)
    log_p, log_s = (log_softmax(z, axis=1) for z in rng.normal(0, 1.5, (2, 20_000, 5)))
    labels = (rng.random((20_000, 1)) > np.exp(log_p).cumsum(axis=1)).sum(axis=1).clip(max=4)
    empirical, distilled = risk_variances(log_s, log_p, labels)
    assert distilled < 0.9 * empirical
    assert np.mean(empirical_risks(log_s, labels)) == pytest.approx(np.mean(distilled_risks(log_s, log_p)), rel=0.03)


def test_a_teacher_that_is_not_the_truth_may_have_more():
    labels = np.zeros(4, np.int64)
    log_s = np.log(np.tile([0.5, 0.3, 0.2], (4, 1)))  # the loss at the label is always log 2
    log_t = np.log(np.array([[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.01, 0.01, 0.98], [0.98, 0.01, 0.01]]))
    empirical, distilled = risk_variances(log_s, log_t, labels)
    assert empirical == pytest.approx(0, abs=1e-20)
    assert distilled > 0.01


def test_equal_where_every_class_that_is_possible_has_one_loss():
    log_s = np.log(np.array([[0.4, 0.4, 0.2], [0.1, 0.1, 0.8]]))
    log_t = np.log(np.array([[0.7, 0.3, 1e-300], [0.2, 0.8, 1e-300]]))
    empirical, distilled = risk_variances(log_s, log_t, np.array([0, 1]))
    assert distilled == pytest.approx(empirical)


def test_the_empirical_risk_is_the_log_loss():
    rng = np.random.default_rng(1)
    log_s, labels = log_softmax(rng.normal(size=(50, 4)), axis=1), rng.integers(0, 4, 50)
    assert empirical_risks(log_s, labels).mean() == pytest.approx(log_loss(labels, np.exp(log_s), labels=range(4)))


def test_one_sample_has_no_variance():
    log_s = np.log([[0.5, 0.5]])
    assert np.isnan(risk_variances(log_s, log_s, np.array([0]))).all()
