"""A regression through the probes of measuring processes: linear models whose predictions numpy repeats."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.evaluate.predictions import Analyses, TrainingImages
from kdbench.measure.bench_model import TestSet
from kdbench.measure.passes.accuracy import AccuracyPass
from kdbench.measure.passes.errors import ErrorsPass
from kdbench.modelfile.facts import inspect

pytestmark = pytest.mark.usefixtures("short_run")


@pytest.fixture
def numbers(bench_model):
    """Make a model of a file whose outputs are predicted numbers."""

    def make(path, targets=2, **keys):
        model = bench_model(path, targets=tuple(f"y{n}" for n in range(targets)), **keys)
        return replace(model, facts=inspect(path, data_shape=(2, 3, 4), targets=targets))

    return make


@pytest.fixture
def pair(tiny, numbers):
    """A teacher and a student of another seed, of two targets."""
    return [numbers(tiny("t", classes=2)), numbers(tiny("s", classes=2, seed=1), teacher="t")]


@pytest.fixture
def test_set(by_hand):
    """Fifty images, with the teacher's predictions and noise as targets."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (50, 2, 3, 4), dtype=np.uint8)
    return TestSet(images, (by_hand(images, classes=2) + rng.normal(size=(50, 2))).astype(np.float32))


def by_name(findings):
    return {(m.model, m.metric, *m.axes.values()): m for m in findings.measurements}


def test_every_model_has_its_errors_and_a_student_its_distance_from_the_teacher(run_pass, pair, test_set, by_hand):
    findings = run_pass(ErrorsPass(), pair, test_set)
    predicted = {"t": by_hand(test_set.inputs, classes=2), "s": by_hand(test_set.inputs, seed=1, classes=2)}
    results = by_name(findings)
    mse = {id_: ((values - test_set.labels) ** 2).mean() for id_, values in predicted.items()}
    for id_, values in predicted.items():
        assert results[id_, "mse"].value == pytest.approx(mse[id_], rel=1e-4)
        assert results[id_, "rmse"].value == pytest.approx(mse[id_] ** 0.5, rel=1e-4)
        assert results[id_, "mae"].value == pytest.approx(np.abs(values - test_set.labels).mean(), rel=1e-4)
        squares = ((values - test_set.labels) ** 2).mean(axis=1)
        np.testing.assert_allclose(findings.samples[f"{id_}/squared-error"], squares, rtol=1e-3, atol=1e-5)
    between = ((predicted["t"] - predicted["s"]) ** 2).mean()
    assert results["s", "teacher_mse"].value == pytest.approx(between, rel=1e-4)
    assert ("t", "teacher_mse") not in results
    (ratio,) = findings.pairs
    assert (ratio.metric, ratio.value) == ("rmse_ratio", pytest.approx((mse["t"] / mse["s"]) ** 0.5, rel=1e-4))


def test_a_single_target_is_no_logit_of_two_classes(run_pass, tiny, numbers, test_set, by_hand):
    one = TestSet(test_set.inputs, test_set.labels[:, :1])
    (rmse,) = (m for m in run_pass(ErrorsPass(), [numbers(tiny(classes=1), 1)], one).measurements if m.metric == "rmse")
    expected = ((by_hand(test_set.inputs, classes=1) - one.labels) ** 2).mean() ** 0.5
    assert rmse.value == pytest.approx(expected, rel=1e-4)


def test_training_samples_are_evaluated_with_the_targets_of_the_training(run_pass, pair, test_set, by_hand):
    noisy = test_set.labels + np.float32(1)
    images = TrainingImages(test_set.inputs, noisy, test_set.labels, np.arange(50) < 30)
    results = by_name(run_pass(ErrorsPass(), pair, test_set, Analyses(training={"s": images})))
    squares = (by_hand(test_set.inputs[:30], seed=1, classes=2) - noisy[:30]) ** 2
    assert results["s", "mse", "train"].value == pytest.approx(squares.mean(), rel=1e-4)
    assert ("s", "teacher_mse", "train") in results
    assert ("t", "mse", "train") not in results


def test_there_is_no_accuracy_of_numbers_and_no_error_of_classes(run_pass, pair, test_set, tiny, bench_model):
    assert not run_pass(AccuracyPass(), pair, test_set).measurements
    classes = TestSet(test_set.inputs, np.zeros(50, np.int64))
    findings = run_pass(ErrorsPass(), [bench_model(tiny("c"))], classes)
    assert (findings.measurements, findings.failures) == ((), ())


def test_a_model_of_other_targets_is_refused(run_pass, tiny, numbers, test_set):
    with pytest.raises(InputError, match="3 numbers, but the data has 2"):
        run_pass(ErrorsPass(), [numbers(tiny("other", classes=3), 3)], test_set)


def test_a_model_of_infinite_predictions_has_the_reason_and_the_others_numbers(run_pass, pair, tiny, numbers, test_set):
    broken = numbers(tiny("broken", classes=2, bias=float("inf")), teacher="t")
    results = by_name(run_pass(ErrorsPass(), [*pair, broken], test_set))
    assert results["broken", "rmse"].status == "invalid"
    assert "NaN or infinity" in results["broken", "rmse"].reason
    assert results["s", "rmse"] == by_name(run_pass(ErrorsPass(), pair, test_set))["s", "rmse"]
