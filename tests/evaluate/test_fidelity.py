import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy, spearmanr, zscore

from kdbench.evaluate.fidelity import FIDELITIES, fidelity_findings
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
