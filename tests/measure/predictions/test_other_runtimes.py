"""Accuracy through another runtime: of the same test set, and compared answer by answer."""

import dataclasses

import numpy as np
import pytest

from kdbench.measure.bench_model import Refusal
from kdbench.measure.predictions import other_runtimes
from kdbench.measure.predictions.other_runtimes import expected_by_runtime, file_runtimes, findings_by_runtime
from kdbench.measure.predictions.predict import predict
from kdbench.results.findings import Failure

RUNTIMES = ("onnxruntime", "openvino", "torch")


@pytest.fixture
def two(tiny, bench_model):
    return [bench_model(tiny("t")), bench_model(tiny("s", seed=1), teacher="t")]


def test_only_runtimes_that_run_the_file_answer_for_it(two, context, test_set):
    made = context(two, test_set, runtime=RUNTIMES)
    assert file_runtimes(made) == ["openvino"]
    expected = {(item.model, item.metric, item.axes["runtime"], item.runtime) for item in expected_by_runtime(made)}
    assert {item[2:] for item in expected} == {("openvino", "openvino")}
    assert {item[:2] for item in expected} >= {("s", "top1"), ("t", "answers_changed")}


def test_answers_are_counted_against_onnxruntimes(two, context, test_set, monkeypatch):
    made = context(two, test_set, runtime=RUNTIMES)
    usual = predict(made, two, test_set)
    changed = np.array(usual["s"].logits)
    changed[:3] = -changed[:3]  # another class in three samples
    requested = []

    def elsewhere(context, models, test, runtime):
        requested.append((runtime, [model.id for model in models]))
        return {"t": usual["t"], "s": dataclasses.replace(usual["s"], logits=changed)}

    monkeypatch.setattr(other_runtimes, "predict", elsewhere)
    findings = findings_by_runtime(made, test_set, usual)
    shares = {m.model: m.value for m in findings.measurements if m.metric == "answers_changed"}
    assert shares == {"t": 0.0, "s": 3 / len(test_set.labels)}
    assert {m.axes["runtime"] for m in findings.measurements} == {"openvino"}
    assert requested == [("openvino", ["t", "s"])]


def test_a_model_that_failed_or_was_refused_is_not_asked_again(two, context, test_set, monkeypatch):
    refused = dataclasses.replace(two[0], refused={"openvino": Refusal("no kernel")})
    made = context([refused, two[1]], test_set, runtime=RUNTIMES)
    monkeypatch.setattr(other_runtimes, "predict", lambda *_, **__: pytest.fail("nothing is left to predict"))
    assert not findings_by_runtime(made, test_set, {"s": Failure("s", "it crashed")}).measurements


def test_a_failure_there_is_at_its_axis(two, context, test_set, monkeypatch):
    made = context(two[:1], test_set, runtime=RUNTIMES)
    usual = predict(made, two[:1], test_set)
    monkeypatch.setattr(other_runtimes, "predict", lambda *_, **__: {"t": Failure("t", "it crashed")})
    (failure,) = findings_by_runtime(made, test_set, usual).failures
    assert failure.axes == {"runtime": "openvino"}
