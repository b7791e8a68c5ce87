import pytest

import kdbench
from kdbench.errors import InputError

STRICT = """
title = "a small device"
[[limit]]
metric = "size_bytes"
max = 1
"""


@pytest.fixture(scope="module")
def run(workplace):
    return kdbench.Results.read(workplace / "runs/digits")


def test_results_records_and_paths_are_judged_alike(workplace, run):
    of = [kdbench.judge(it, "server-cpu") for it in (run, run.record, workplace / "runs/digits", str(run.folder))]
    assert len({verdict.model_copy(update={"created": ""}).model_dump_json() for verdict in of}) == 1
    assert of[0].outcome == of[0].overall
    assert kdbench.judge(run, "server-cpu", models="student").models[0].model == "student"


def test_a_regression_is_listed(run):
    (old,) = (m for m in run.record.measurements if (m.model, m.metric) == ("student", "size_bytes"))
    larger = [m.model_copy(update={"value": 2 * m.value}) if m == old else m for m in run.record.measurements]
    cards = [card.model_copy(update={"sha256": "0" * 64}) for card in run.record.models]
    new = run.record.model_copy(update={"measurements": tuple(larger), "models": tuple(cards)})
    comparison = kdbench.compare(run, new, metrics=["size_bytes", "macs"])
    assert [(row.new_model, row.metric) for row in comparison.regressions] == [("student", "size_bytes")]
    assert comparison.exit_code == 1
    relaxed = kdbench.compare(run, new, metrics=["size_bytes"], thresholds={"size_bytes": 1.5})
    assert relaxed.regressions == ()
    assert {row.new_model for row in kdbench.compare(run, new, models="teacher", metrics=["macs"]).rows} == {"teacher"}


def test_files_are_measured_side_by_side(workplace, tmp_path):
    comparison = kdbench.compare(
        workplace / "teacher.onnx", str(workplace / "student.onnx"), models={"teacher": "student"},
        metrics=["top1", "macs"], data="digits", out=tmp_path / "out",
    )  # fmt: skip
    assert comparison.remeasured
    assert {row.metric: row.outcome for row in comparison.rows} == {"top1": "same", "macs": "improved"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: kdbench.judge("teacher.onnx", "server-cpu"), "is a model, not a run"),
        (lambda run: kdbench.judge(run, "server-cpuu"), "unknown target"),
        (lambda run: kdbench.compare(run, run, data="digits"), "data is for a measurement"),
        (lambda run: kdbench.compare(run.record, run, remeasure=True), "no models to measure again"),
        (lambda run: kdbench.compare(run, run, thresholds={"size": 1}), "unknown metric"),
    ],
)
def test_what_cannot_be_decided_is_refused(run, call, message):
    with pytest.raises(InputError, match=message) as error:
        call(run)
    assert error.value.hint
