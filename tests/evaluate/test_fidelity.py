import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, softmax
from scipy.stats import entropy, spearmanr, t, zscore

from kdbench.distill.losses.logits import standardize
from kdbench.evaluate.fidelity import (
    FIDELITIES,
    average_ranks,
    fidelity_findings,
    kl_divergences,
    spearman,
    standardized,
    standardized_kl,
)
from kdbench.evaluate.predictions import Predictions

LABELS = np.random.default_rng(2).integers(0, 6, 300)


@pytest.fixture
def pair(tiny, bench_model):
    """Return predictions of a teacher and its student from their logits."""
    cards = bench_model(tiny("t")).card, bench_model(tiny("s"), teacher="t").card
    return lambda *logits: [Predictions.of(card, z, LABELS) for card, z in zip(cards, logits, strict=True)]


@pytest.fixture
def results(pair):
    def of(teacher_logits, student_logits):
        findings = fidelity_findings(*pair(teacher_logits, student_logits))
        return {m.metric: m for m in (*findings.measurements, *findings.pairs)}

    return of


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 2, (2, 300, 6)).astype(np.float32)


def test_agreement_and_kl_against_scipy(results, logits):
    teacher, student = logits
    values = results(teacher, student)
    expected = entropy(softmax(teacher.astype(float), 1), softmax(student.astype(float), 1), axis=1)
    assert values["predictive_kl"].value == pytest.approx(expected.mean())
    assert values["agreement"].value == np.mean(teacher.argmax(1) == student.argmax(1))
    alike = entropy(softmax(zscore(teacher, 1), 1), softmax(zscore(student, 1), 1), axis=1)
    assert values["standardized_kl"].value == pytest.approx(alike.mean(), rel=1e-5)
    rhos = [spearmanr(t, s).statistic for t, s in zip(teacher, student, strict=True)]
    assert values["logit_spearman"].value == pytest.approx(np.mean(rhos))
    assert all(m.interval.low <= m.value <= m.interval.high for m in values.values())


def test_intervals_of_a_nearly_identical_student_stay_within_what_is_possible(results, logits):
    teacher, student = logits[0], logits[0].copy()
    student[0, [0, 1]] = student[0, [1, 0]]  # one of 300 samples differs
    values = results(teacher, student)
    kl = entropy(softmax(teacher[0].astype(float)), softmax(student[0].astype(float))) / 300
    half = t.ppf(0.975, 299) * kl  # the standard error of one value among zeros is their mean
    assert kl - half < 0
    assert values["predictive_kl"].interval.low == 0
    assert values["predictive_kl"].interval.high == pytest.approx(kl + half)
    assert values["standardized_kl"].interval.low == 0
    rho = (299 + spearmanr(teacher[0], student[0]).statistic) / 300
    assert values["logit_spearman"].interval.low == pytest.approx(rho - t.ppf(0.975, 299) * (1 - rho))
    assert values["logit_spearman"].interval.high == 1


def test_kl_is_of_the_teacher_from_the_student_not_the_other_way(results, logits):
    teacher, student = logits
    assert results(teacher, student)["predictive_kl"].value != pytest.approx(
        results(student, teacher)["predictive_kl"].value
    )


def test_a_student_that_copies_its_teacher(results, logits):
    values = results(logits[0], logits[0])
    assert values["agreement"].value == 1
    assert values["predictive_kl"].value == values["standardized_kl"].value == 0
    assert values["logit_spearman"].value == pytest.approx(1)
    assert values["top1_drop"].value == 0
    assert values["top1_drop"].interval.low < 0 < values["top1_drop"].interval.high


def test_top1_drop_is_in_points_of_the_same_samples(results, logits):
    teacher, student = logits
    right_t, right_s = teacher.argmax(1) == LABELS, student.argmax(1) == LABELS
    drop = results(teacher, student)["top1_drop"]
    assert drop.value == pytest.approx(100 * (right_t.mean() - right_s.mean()))
    assert drop.n == 300


def test_the_standard_deviation_is_told_and_used(pair, logits):
    results = [
        next(m for m in fidelity_findings(*pair(*logits), std=std).measurements if m.metric == "standardized_kl")
        for std in ("population", "unbiased")
    ]
    assert results[0].value > results[1].value
    assert [m.source for m in results] == [
        "against t, population standard deviation",
        "against t, unbiased standard deviation",
    ]


def test_elsewhere_than_on_the_test_set_it_says_where_and_has_no_drop(pair, logits):
    findings = fidelity_findings(*pair(*logits), {"part": "train"})
    assert {m.metric for m in findings.measurements} == set(FIDELITIES)
    assert all(m.axes == {"part": "train"} for m in findings.measurements)
    assert findings.pairs == ()


def test_a_student_that_ranks_nothing_has_no_rank_correlation(results, logits):
    values = results(logits[0], np.zeros_like(logits[0]))
    assert values["logit_spearman"].status == "invalid"
    assert values["predictive_kl"].status == "ok"
    some = np.where(np.arange(300)[:, None] < 10, 0, logits[1])
    assert results(logits[0], some)["logit_spearman"].n == 290


TIED = arrays(np.float64, (6, 7), elements=st.integers(-3, 3).map(float))


@given(TIED, TIED)
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_rho_against_scipy(one, other):
    expected = [spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(spearman(one, other), expected, atol=1e-12)


def test_the_order_counts_and_nothing_else():
    z = np.random.default_rng(0).normal(size=(5, 100))
    np.testing.assert_allclose(spearman(z, np.exp(0.1 * z) - 7), 1)
    np.testing.assert_allclose(spearman(z, -z), -1)


def test_equal_logits_have_no_order():
    assert np.isnan(spearman(np.zeros((1, 4)), np.arange(4.0)[None])).all()


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


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_ranks_are_those_of_scipy_with_ties_and_nan(levels):
    from scipy.stats import rankdata

    values = np.random.default_rng(levels).integers(0, levels, (40, 13)).astype(np.float64)
    values[3, 5] = np.nan
    assert np.array_equal(average_ranks(values), rankdata(values, axis=1), equal_nan=True)
    assert average_ranks(values[:, :1])[0].tolist() == [1]
