import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from kdbench.measure.accuracy import Evaluation, judge
from kdbench.measure.fidelity import fidelity_findings

LABELS = np.random.default_rng(2).integers(0, 6, 300)


@pytest.fixture
def pair(tiny, subject):
    return subject(tiny("t")), subject(tiny("s"), teacher="t")


@pytest.fixture
def found(pair):
    def of(teacher_logits, student_logits):
        evaluations = {"t": judge(teacher_logits, LABELS), "s": judge(student_logits, LABELS)}
        findings = fidelity_findings(*pair, evaluations)
        return {m.metric: m for m in (*findings.measurements, *findings.pairs)}

    return of


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 2, (2, 300, 6)).astype(np.float32)


def test_agreement_and_kl_against_scipy(found, logits):
    teacher, student = logits
    values = found(teacher, student)
    expected = entropy(softmax(teacher.astype(float), 1), softmax(student.astype(float), 1), axis=1)
    assert values["predictive_kl"].value == pytest.approx(expected.mean())
    assert values["agreement"].value == np.mean(teacher.argmax(1) == student.argmax(1))
    assert all(m.interval.low <= m.value <= m.interval.high for m in values.values())


def test_kl_is_of_the_teacher_from_the_student_not_the_other_way(found, logits):
    teacher, student = logits
    assert found(teacher, student)["predictive_kl"].value != pytest.approx(
        found(student, teacher)["predictive_kl"].value
    )


def test_a_student_that_copies_its_teacher(found, logits):
    values = found(logits[0], logits[0])
    assert values["agreement"].value == 1
    assert values["predictive_kl"].value == 0
    assert values["top1_drop"].value == 0
    assert values["top1_drop"].interval.low < 0 < values["top1_drop"].interval.high


def test_top1_drop_is_in_points_of_the_same_samples(found, logits):
    teacher, student = logits
    right_t, right_s = teacher.argmax(1) == LABELS, student.argmax(1) == LABELS
    drop = found(teacher, student)["top1_drop"]
    assert drop.value == pytest.approx(100 * (right_t.mean() - right_s.mean()))
    assert drop.n == 300


def test_invalid_students_and_teachers(found, logits):
    broken = np.full_like(logits[0], np.nan)
    of_student = found(logits[0], broken)
    assert {m.status for m in of_student.values()} == {"invalid"}
    of_teacher = found(broken, logits[0])
    assert {m.status for m in of_teacher.values()} == {"unavailable"}
    assert all(m.reason.startswith("t: 300 of 300") for m in of_teacher.values())


def test_different_classes(pair, logits):
    evaluations = {"t": judge(logits[0], LABELS), "s": judge(np.zeros((300, 9), np.float32), LABELS)}
    findings = fidelity_findings(*pair, evaluations)
    assert {m.status for m in findings.measurements} == {"unavailable"}
    assert "6 and 9 classes" in findings.pairs[0].reason


def test_a_student_that_failed_keeps_its_reason(pair, logits):
    evaluations = {"t": judge(logits[0], LABELS), "s": Evaluation(status="error", reason="it crashed")}
    findings = fidelity_findings(*pair, evaluations)
    assert {m.status for m in findings.measurements} == {"error"}
    assert findings.pairs[0].reason == "s: it crashed"
