import math
import re
from html import unescape

import numpy as np
import pytest

import kdbench
from kdbench.errors import InputError
from kdbench.report.text.verdict import verdict_sentence, verdict_table
from kdbench.results import comparisons, verdicts

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


@pytest.mark.parametrize(
    ("wrong", "hint"), [({"measure": {"threads": [0]}}, "help(kdbench.Measure)"), ({"std": 0.0}, "help(kdbench.bench)")]
)
def test_a_wrong_argument_has_a_hint(workplace, wrong, hint):
    with pytest.raises(InputError, match="greater than") as error:
        kdbench.bench(workplace / "teacher.onnx", accuracy=False, **wrong)
    assert hint in error.value.hint


def test_a_key_of_measure_in_the_wrong_place_is_answered_with_the_right_one(workplace):
    with pytest.raises(InputError, match="unknown key 'budget_s'") as error:
        kdbench.bench(workplace / "teacher.onnx", accuracy=False, budget_s=5)
    assert "measure=kdbench.Measure(budget_s=…)" in error.value.hint


@pytest.mark.parametrize("threshold", [-0.1, math.nan, math.inf])
def test_a_threshold_that_decides_nothing_is_refused(run, threshold):
    with pytest.raises(InputError, match=f"the threshold of macs cannot be {threshold}"):
        kdbench.compare(run, run, metrics=["macs"], thresholds={"macs": threshold})


def test_files_are_measured_side_by_side(workplace, tmp_path):
    comparison = kdbench.compare(
        workplace / "teacher.onnx", str(workplace / "student.onnx"), models={"teacher": "student"},
        metrics=["top1", "macs"], data="digits", out=tmp_path / "out",
    )  # fmt: skip
    assert comparison.remeasured
    assert {row.metric: row.outcome for row in comparison.rows} == {"top1": "same", "macs": "improved"}


def test_files_are_compared_on_inputs_as_the_hint_says(workplace, tmp_path):
    images = np.random.default_rng(0).uniform(0, 16, (40, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "set.npz", x_test=images, y_test=np.arange(40) % 10)
    files, options = (workplace / "teacher.onnx", workplace / "student.onnx"), {"data": f"npz:{tmp_path / 'set.npz'}"}
    options |= {"models": {"teacher": "student"}, "metrics": ["top1"], "out": tmp_path / "out"}
    with pytest.raises(InputError, match="no source defines their scaling") as error:
        kdbench.compare(*files, **options)
    assert error.value.hint.startswith('inputs={"scale": 1.0} leaves them unchanged')
    assert error.value.__notes__ == [f"hint: {error.value.hint}"]
    assert kdbench.compare(*files, **options, inputs={"scale": 1.0}).remeasured


def test_a_verdict_displays_its_sentence_and_its_table(run, tmp_path):
    verdict = kdbench.judge(run, "server-cpu")
    stored = verdicts.Verdict.from_json(verdict.to_json(), tmp_path)
    assert (verdict, stored) == (stored, verdict)
    assert verdict != stored.model_copy(update={"title": "another"})
    assert isinstance(verdict, kdbench.Verdict)
    assert repr(verdict).startswith(f"<kdbench.Verdict {verdict.overall} for a server's CPU")
    assert len(repr(verdict)) < 100
    sentence = verdict_sentence(stored)
    assert html_text(verdict).startswith(sentence.replace("`", ""))
    assert verdict._repr_markdown_().startswith(sentence[:40])
    for shown in (verdict._repr_html_(), verdict._repr_markdown_()):
        assert all(criterion.outcome in shown for model in verdict.models for criterion in model.criteria)
        assert all(row.cells[1].text in shown for row in verdict_table(stored).rows)


def test_a_comparison_displays_its_sentence_and_its_table(run):
    comparison = kdbench.compare(run, run, metrics=["top1", "macs"])
    assert isinstance(comparison, kdbench.Comparison)
    assert repr(comparison).startswith("<kdbench.Comparison same: ")
    assert html_text(comparison).startswith("✓ same: ")
    assert "✓ kdbench: same" in comparison._repr_markdown_()
    assert comparison == comparisons.Comparison(**dict(comparison))


def html_text(value):
    """Return the text of the first paragraph that a notebook shows."""
    return unescape(re.sub(r"<[^>]+>", "", re.search(r"<p>(.*?)</p>", value._repr_html_()).group(1)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: kdbench.judge("teacher.onnx", "server-cpu"), "is a model, not a run"),
        (lambda run: kdbench.judge(run, "server-cpuu"), "unknown target"),
        (lambda run: kdbench.compare(run, run, data="digits"), "data applies only to a new measurement"),
        (lambda run: kdbench.compare(run.record, run, remeasure=True), "no models to measure again"),
        (lambda run: kdbench.compare(run, run, thresholds={"size": 1}), "unknown metric"),
        (lambda run: kdbench.judge(run, "server-cpu", models=[]), "models is empty"),
        (lambda run: kdbench.compare(run, run, models={}), "models is empty"),
    ],
)
def test_what_cannot_be_decided_is_refused(run, call, message):
    with pytest.raises(InputError, match=message) as error:
        call(run)
    assert error.value.hint
