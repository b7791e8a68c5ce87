"""How a verdict reads: the paragraph and the table, built from values made by hand."""

import pytest

from kdbench.report.cells import Number, Text
from kdbench.report.text.verdict import verdict_sentence, verdict_table
from kdbench.results.records import Interval
from kdbench.results.verdicts import Criterion, ModelVerdict, Verdict

AXES = {"provider": "cpu", "threads": 1, "batch": 1}
HERE = Criterion(metric="device", rule="device", outcome="PASS", reason="measured on a Pi")
ELSEWHERE = Criterion(
    metric="device", rule="device", outcome="UNKNOWN", reason="measured on a PC, not on a Pi", remedy="measure on a Pi"
)


def top1(outcome: str = "PASS", **changes) -> Criterion:
    values = {
        "metric": "top1",
        "rule": "min",
        "outcome": outcome,
        "limit": 0.85,
        "unit": "share",
        "value": 0.9,
        "interval": Interval(low=0.89, high=0.91),
        "evidence": "measured",
    }
    return Criterion(**{**values, **changes})


def model(name: str, overall: str, *criteria: Criterion) -> ModelVerdict:
    return ModelVerdict(model=name, overall=overall, criteria=criteria)


def verdict(overall: str, *models: ModelVerdict, **changes) -> Verdict:
    values = {
        "target": "pi",
        "title": "a Pi",
        "run": "digits",
        "record_hash": "0",
        "created": "2025-01-01",
        "best": next((candidate.model for candidate in models if candidate.overall == "READY"), None),
        "measured_on": "a Pi, 4 cores",
    }
    return Verdict(overall=overall, models=models, **{**values, **changes})


def test_ready_model_is_named_with_its_criteria():
    one = verdict("READY", model("a", "READY", HERE, top1(), top1(metric="size_bytes", unit="bytes")))
    assert verdict_sentence(one) == "READY for a Pi: `a` meets all 2 required criteria. Measured on a Pi, 4 cores."
    two = verdict("READY", model("a", "READY", HERE, top1()), model("b", "READY", HERE, top1()))
    assert "`a` meets the required criterion and is the best of 2 that do." in verdict_sentence(two)


def test_not_ready_names_the_nearest_model_and_its_gap():
    short = top1("FAIL", value=0.8, remedy="5.00 points short")
    slow = top1("FAIL", metric="latency_p50_ns", rule="max", unit="ns", axes=AXES, remedy="22 % too slow")
    text = verdict_sentence(
        verdict("NOT READY", model("far", "NOT READY", HERE, short, slow), model("near", "NOT READY", HERE, short))
    )
    assert "each of the 2 models fails a required criterion; `near` is closest." in text
    assert "Missing for `near`: Top-1: 5.00 points short." in text
    assert "too slow" not in text


def test_criteria_with_one_remedy_are_grouped_failures_first():
    criteria = (
        ELSEWHERE,
        top1("UNKNOWN", metric="latency_p50_ns", axes=AXES, value=None, interval=None, reason="measured on a PC",
             remedy="measure on a Pi"),
        top1("FAIL", value=0.8, remedy="5.00 points short"),
    )  # fmt: skip
    text = verdict_sentence(verdict("NOT READY", model("a", "NOT READY", *criteria)))
    assert (
        "Missing: Top-1: 5.00 points short; Device, Latency p50 (batch 1, 1 thread): measure on a Pi "
        "(measured on a PC, not on a Pi)." in text
    )


def test_inconclusive_counts_the_criteria_met():
    open_ = model("a", "INCONCLUSIVE", HERE, top1(), top1("MARGINAL", metric="top5", remedy="more samples"))
    text = verdict_sentence(verdict("INCONCLUSIVE", open_))
    assert "`a` meets 1 of 2 required criteria and fails none." in text
    assert "Missing: Top-5: more samples." in text


def test_optional_criteria_are_marked():
    wish = top1("FAIL", metric="macs", rule="max", unit="MACs", required=False, remedy="20 % too many")
    text = verdict_sentence(verdict("READY", model("a", "READY", HERE, top1(), wish)))
    assert "Not required and not passed: MACs: 20 % too many." in text
    rows = verdict_table(verdict("READY", model("a", "READY", HERE, top1(), wish))).rows
    assert rows[2].cells[4] == Text("FAIL (not required)")


@pytest.mark.parametrize("example", [True, False])
def test_example_limits_are_marked(example):
    judged = verdict("READY", model("a", "READY", HERE, top1()), example=example)
    assert ("limits of this target are examples" in verdict_sentence(judged)) == example


def test_warnings_are_named_in_words_and_those_of_a_device_are_told_from_the_runs():
    judged = verdict("READY", model("a", "READY", HERE, top1()), cautions=("load", "near_floor", "of_a_plug-in"))
    words = "other work on the machine, calls so short that their fixed cost counts, of a plug-in."
    assert f"The run has warnings; see its report: {words}" in verdict_sentence(judged)
    on_device = judged.model_copy(update={"device": "pi5"})
    assert f"Warnings of the device `pi5`: {words}" in verdict_sentence(on_device)
    assert "The run" not in verdict_sentence(on_device)


def test_the_table_has_the_device_once_and_every_criterion_of_every_model():
    models = (model("no", "NOT READY", HERE, top1("FAIL", remedy="far")), model("yes", "READY", HERE, top1()))
    table = verdict_table(verdict("READY", *models, best="yes"))
    assert table.title == "Readiness for a Pi"
    assert [row.cells[0].text for row in table.rows] == ["all", "yes", "no"]
    device, yes, no = (row.cells for row in table.rows)
    assert [cell.text for cell in device] == ["all", "Device", "a Pi", "a Pi, 4 cores", "PASS", ""]
    assert [cell.text for cell in yes[:3]] == ["yes", "Top-1", "≥ 85 %"]
    assert isinstance(yes[3], Number)
    assert (yes[3].text, yes[3].interval_text) == ("90.00 %", "[89.00, 91.00]")
    assert [cell.text for cell in no[4:]] == ["FAIL", "Far."]


@pytest.mark.parametrize(
    ("changes", "criterion", "limit", "measured"),
    [
        ({"rule": "max_drop_vs_teacher", "limit": 1, "value": 0.5, "interval": None, "unit": "points"},
         "Top-1 drop", "≤ 1 point", "+0.50"),
        ({"metric": "top5", "rule": "max_drop_vs_teacher", "limit": 0.5, "value": -0.5, "unit": "points"},
         "Top-5 drop", "≤ 0.5 points", "-0.50"),
        ({"rule": "max_negative_flips", "limit": 0.005, "value": 0.0046, "interval": None, "unit": "share"},
         "Negative flips", "≤ 0.5 %", "0.46 %"),
        ({"metric": "latency_p50_ns", "rule": "min_ratio_vs_teacher", "limit": 3, "value": 4, "unit": "1"},
         "Speed-up", "≥ 3×", "4.00×"),
        ({"metric": "parameters", "rule": "min_ratio_vs_teacher", "limit": 3, "value": 4, "unit": "1"},
         "Parameters ratio", "≥ 3×", "4.00×"),
        ({"metric": "latency_p50_ns", "rule": "max", "limit": 20e6, "value": 1e6, "unit": "ns", "axes": AXES},
         "Latency p50, batch 1", "≤ 20 ms", "1.00 ms"),
        ({"metric": "size_bytes", "rule": "max", "limit": 9930, "value": 9934, "unit": "bytes", "interval": None},
         "Model size", "≤ 9,930 B", "9,934 B"),
        ({"metric": "macs", "rule": "max", "limit": 1e6, "value": 1_000_004, "unit": "MACs", "interval": None},
         "MACs", "≤ 1,000,000", "1,000,004"),
        ({"metric": "size_bytes", "rule": "min_ratio_vs_teacher", "limit": 4, "value": 3.9962, "unit": "1",
          "interval": None}, "Size ratio", "≥ 4×", "3.9962×"),
        ({"value": None, "interval": None, "outcome": "UNKNOWN", "reason": "no"}, "Top-1", "≥ 85 %", "–"),
    ],
)  # fmt: skip
def test_numbers_and_limits_have_their_units(changes, criterion, limit, measured):
    judged = verdict("INCONCLUSIVE", model("a", "INCONCLUSIVE", HERE, top1(**changes)))
    cells = verdict_table(judged).rows[1].cells
    assert [cell.text for cell in cells[1:4]] == [criterion, limit, measured]


def test_energy_has_its_uncertainty():
    joules = top1(metric="energy_j", rule="max", unit="J", limit=0.3, value=0.2, interval=Interval(low=0.19, high=0.21))
    cell = verdict_table(verdict("READY", model("a", "READY", HERE, joules))).rows[1].cells[3]
    assert cell.text == "200 ± 10 mJ"
    guess = joules.model_copy(update={"evidence": "estimated", "interval": None})
    cell = verdict_table(verdict("READY", model("a", "READY", HERE, guess))).rows[1].cells[3]
    assert cell.text == "~200 mJ (est.)"


def test_provider_and_threads_are_shown_only_if_they_differ():
    time = {"metric": "latency_p50_ns", "rule": "max", "unit": "ns"}
    both = (top1(**time, axes=AXES), top1(**time, axes={**AXES, "provider": "cuda", "threads": 4}))
    texts = [row.cells[1].text for row in verdict_table(verdict("READY", model("a", "READY", HERE, *both))).rows[1:]]
    assert texts == ["Latency p50, batch 1, 1 thread, cpu provider", "Latency p50, batch 1, 4 threads, cuda provider"]
    alone = verdict_table(verdict("READY", model("a", "READY", HERE, both[0])))
    assert alone.rows[1].cells[1].text == "Latency p50, batch 1"
    assert "All at 1 thread, cpu provider." in alone.notes


def test_best_model_is_first_and_has_no_missing_column():
    table = verdict_table(verdict("READY", *(model(name, "READY", HERE, top1()) for name in "abc"), best="b"))
    assert [row.cells[0].text for row in table.rows] == ["all", "b", "a", "c"]
    assert [column.head for column in table.columns] == ["Model", "Criterion", "Limit", "Measured", "Outcome"]


def test_device_remedy_is_not_repeated_in_every_row():
    foreign = top1("UNKNOWN", metric="load_ns", reason="measured on a PC, not on a Pi", remedy="measure on a Pi")
    other = top1("UNKNOWN", metric="energy_j", value=None, interval=None, reason="no meter", remedy="plug one in")
    rows = verdict_table(verdict("INCONCLUSIVE", model("a", "INCONCLUSIVE", ELSEWHERE, foreign, other))).rows
    assert [row.cells[5].text for row in rows] == [
        "Measured on a PC, not on a Pi. Measure on a Pi.",
        "Measure on a Pi.",
        "No meter. Plug one in.",
    ]


def test_criterion_without_remedy_shows_its_reason():
    other = top1("UNKNOWN", metric="size_bytes", value=None, interval=None, reason="the student: 0 bytes", remedy="")
    rows = verdict_table(verdict("INCONCLUSIVE", model("a", "INCONCLUSIVE", HERE, other))).rows
    assert rows[1].cells[5].text == "The student: 0 bytes."


def test_many_models_have_short_rows():
    names = "abcdefg"
    models = [model(name, "NOT READY", HERE, top1("FAIL"), top1()) for name in names]
    table = verdict_table(verdict("NOT READY", *models))
    assert [row.cells[0].text for row in table.rows] == ["all", *"aabbccddee", "f", "g"]
    cells = [cell.text for cell in table.rows[-1].cells]
    assert cells == ["g", "1 of 2 required", "", "–", "NOT READY", "Top-1: FAIL"]
    assert any("--model" in note for note in table.notes)
