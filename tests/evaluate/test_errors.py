"""Errors of a regression against numpy and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from kdbench.evaluate.errors import ERRORS, PredictedNumbers, error_measurements, target_measurements, teacher_findings
from kdbench.results.cards import ModelCard

RNG = np.random.default_rng(4)
TARGETS = RNG.normal(3, 2, (50, 3)).astype(np.float32)


def predicted(id_, noise, seed):
    card = ModelCard(
        id=id_, name=id_, role="student", file=f"{id_}.onnx", sha256="0" * 64, input_shape=(4,), classes=None,
        targets=("a", "b", "c"), parameters=1,
    )  # fmt: skip
    return PredictedNumbers(card, TARGETS + noise * np.random.default_rng(seed).normal(size=TARGETS.shape))


TEACHER, STUDENT = predicted("t", 0.5, 1), predicted("s", 0.7, 2)


def test_the_four_errors_are_those_of_scikit_learn():
    values = {m.metric: m for m in error_measurements(STUDENT, TARGETS)}
    assert tuple(values) == ERRORS
    mse = sklearn.mean_squared_error(TARGETS, STUDENT.values)
    assert values["mse"].value == pytest.approx(mse)
    assert values["rmse"].value == pytest.approx(mse**0.5)
    assert values["mae"].value == pytest.approx(sklearn.mean_absolute_error(TARGETS, STUDENT.values))
    assert values["r2"].value == pytest.approx(sklearn.r2_score(TARGETS, STUDENT.values))
    for m in values.values():
        assert m.n == 50
        assert m.interval.low < m.value < m.interval.high


def test_one_target_is_no_special_case():
    one = PredictedNumbers(STUDENT.card, STUDENT.values[:, :1])
    values = {m.metric: m.value for m in error_measurements(one, TARGETS[:, :1])}
    assert values["r2"] == pytest.approx(sklearn.r2_score(TARGETS[:, 0], STUDENT.values[:, 0]))


def test_without_variation_of_the_targets_there_is_no_determination():
    targets = np.ones_like(TARGETS)
    by_metric = {m.metric: m for m in error_measurements(STUDENT, targets)}
    assert by_metric["r2"].value is None
    assert "vary" in by_metric["r2"].reason
    assert by_metric["rmse"].value == pytest.approx(sklearn.mean_squared_error(targets, STUDENT.values) ** 0.5)


def test_a_student_is_compared_with_its_teacher_on_the_same_samples():
    findings = teacher_findings(TEACHER, STUDENT, TARGETS)
    (distance,), (ratio,) = findings.measurements, findings.pairs
    assert distance.value == pytest.approx(sklearn.mean_squared_error(TEACHER.values, STUDENT.values))
    errors = [sklearn.mean_squared_error(TARGETS, model.values) for model in (TEACHER, STUDENT)]
    assert ratio.value == pytest.approx((errors[0] / errors[1]) ** 0.5)
    assert ratio.interval.low < ratio.value < ratio.interval.high < 1
    assert not teacher_findings(TEACHER, STUDENT, TARGETS, {"part": "train"}).pairs


def test_a_student_without_error_has_no_ratio():
    exact = PredictedNumbers(STUDENT.card, TARGETS.astype(np.float64))
    (ratio,) = teacher_findings(TEACHER, exact, TARGETS).pairs
    assert ratio.value is None
    assert "no error" in ratio.reason


def test_each_target_has_errors_of_its_own():
    values = {(m.metric, m.axes["target"]): m for m in target_measurements(STUDENT, TARGETS)}
    assert len(values) == 9
    for column, name in enumerate("abc"):
        truth, predicted = TARGETS[:, column], STUDENT.values[:, column]
        expected = {
            "target_rmse": sklearn.mean_squared_error(truth, predicted) ** 0.5,
            "target_mae": sklearn.mean_absolute_error(truth, predicted),
            "target_r2": sklearn.r2_score(truth, predicted),
        }
        for metric, value in expected.items():
            measured = values[metric, name]
            assert measured.value == pytest.approx(value)
            assert measured.interval.low < measured.value < measured.interval.high
    one = PredictedNumbers(STUDENT.card, STUDENT.values[:, :1])
    assert target_measurements(one, TARGETS[:, :1]) == ()


def test_a_target_that_does_not_vary_has_no_determination_and_the_others_do():
    targets = TARGETS.copy()
    targets[:, 1] = 5
    values = {m.axes["target"]: m.value for m in target_measurements(STUDENT, targets) if m.metric == "target_r2"}
    assert values["b"] is None
    assert values["a"] == pytest.approx(sklearn.r2_score(targets[:, 0], STUDENT.values[:, 0]))
