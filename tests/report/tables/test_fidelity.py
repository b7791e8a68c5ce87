"""Fidelity, mismatches and risk variance, and which tables of predictions a record has."""

import numpy as np
import pytest

from kdbench.report import tables
from kdbench.report.model_groups import model_groups
from kdbench.report.numbers import number
from kdbench.report.table import Table
from kdbench.results.records import measured, missing

TRAIN = {"part": "train"}
STUDENTS = ("student-alone", "student-kd", "student-hint")
EXAMPLES = "A mismatch that standardization fixes"
TITLES = [
    "Train against test",
    "Calibration",
    "Per-class accuracy",
    "Label noise",
    "Mismatch analysis",
    EXAMPLES,
    "Risk variance",
]


def table(record, title) -> Table:
    return next(table for table in tables.build_tables(record) if table.title == title)


def texts(drawn: Table):
    return [[cell.text for cell in row.cells] for row in drawn.rows]


def test_tables_appear_only_with_measurements(sample, analysed):
    assert not {t.title for t in tables.build_tables(sample)} & set(TITLES)
    drawn = [t.title for t in tables.build_tables(analysed)]
    assert drawn[: 4 + len(TITLES)] == ["Summary", "Student against teacher", "Front", "Fidelity", *TITLES]


def test_test_set_values_ignore_other_axes(sample, analysed):
    assert texts(tables.summary(analysed)) == texts(tables.summary(sample))
    of_both = [texts(table(record, "Fidelity")) for record in (sample, analysed)]
    assert [[row[1], row[2], row[-1]] for row in of_both[0]] == [[row[1], row[2], row[-1]] for row in of_both[1]]


def test_fidelity_has_only_measured_columns(sample, analysed):
    assert [c.head for c in table(sample, "Fidelity").columns][1:] == ["Agreement", "KL to teacher", "Loss"]
    drawn = table(analysed, "Fidelity")
    assert [c.head for c in drawn.columns][3:5] == ["KL, standardized", "Rank correlation"]
    assert texts(drawn)[0][1:5] == ["–"] * 4
    assert texts(drawn)[2][4] == "0.7200"
    assert "Spearman" in drawn.notes[0]
    assert "Spearman" not in table(sample, "Fidelity").notes[0]


def test_kd_error_is_one_minus_agreement(analysed):
    drawn = table(analysed, "Train against test")
    kd = drawn.rows[2].cells
    assert [cell.text for cell in kd[1:3]] == ["10.00 %", "1.72 %"]
    assert (kd[1].interval.low, kd[1].interval.high) == (pytest.approx(0.07), pytest.approx(0.12))
    assert texts(drawn)[0][1:5] == ["–"] * 4
    assert texts(drawn)[0][5] == "99.75 %"
    assert "1,200" in drawn.notes[0]


def test_a_student_whose_agreement_is_missing_has_the_reason(analysed):
    reason = "its teacher was not measured"
    ms = [
        missing(m.model, m.metric, reason, axes=m.axes) if (m.model, m.metric) == ("student-kd", "agreement") else m
        for m in analysed.measurements
    ]
    drawn = table(analysed.model_copy(update={"measurements": tuple(ms)}), "Train against test")
    assert texts(drawn)[2][1:3] == [f"n/a ({reason})"] * 2


def test_mismatches_are_counted_on_both_parts(analysed):
    drawn = table(analysed, "Mismatch analysis")
    assert texts(drawn) == [["student-kd", "student-alone", "12 (of 90)", "4", "1", "31 (of 90)", "2", "0"]]
    assert "`of` counts the samples that exactly one student predicts correctly." in drawn.notes[0]


def test_example_has_the_studys_columns(analysed):
    # Ahad's table 2.3, whose numbers these are.
    assert texts(table(analysed, EXAMPLES)) == [
        ["17 (a)", "student-kd", "0.7206", "0.4629", "0.5695", "wrong"],
        ["17 (a)", "student-alone", "0.9000", "0.3360", "0.7063", "right"],
    ]


def test_a_pair_of_several_seeds_has_one_example(seeded, analysed):
    of_first = [m for m in analysed.measurements if "beside" in m.axes]
    of_second = [
        m.model_copy(update={"model": f"{m.model}-s1", "axes": {**m.axes, "beside": f"{m.axes['beside']}-s1"}})
        for m in of_first
    ]
    assert {m.model for m in of_second} <= {card.id for card in seeded.models}
    record = seeded.model_copy(update={"measurements": (*seeded.measurements, *of_first, *of_second)})
    drawn = table(record, EXAMPLES)
    assert [row[1] for row in texts(drawn)] == ["student-kd", "student-alone"]
    assert drawn.notes[0].endswith("Of several seeds, the first one that has such a sample.")


def test_risk_variances_and_their_ratio(analysed):
    assert texts(table(analysed, "Risk variance")) == [[name, "0.5000", "0.4000", "0.8000"] for name in STUDENTS]


def test_a_risk_that_does_not_vary_has_no_ratio(make_record):
    ms = [measured("student-kd", f"{kind}_risk_variance", 0.0) for kind in ("empirical", "distilled")]
    assert texts(table(make_record(measurements=ms), "Risk variance"))[0][3].startswith("n/a (the empirical risk")


@pytest.mark.parametrize(
    ("metric", "values", "bounds"),
    [
        ("logit_spearman", (0.2, 0.9), (-1, 1)),
        ("predictive_kl", (0.1, 0.4), (0, None)),
        ("empirical_risk_variance", (0.1, 0.4), (0, None)),
        ("noise_corrected", (0.1, 0.4), (0, 1)),
    ],
)
def test_interval_over_seeds_stays_within_the_metrics_range(seeded, metric, values, bounds):
    ids = [card.id for card in seeded.models if card.name == "student-kd"]
    others = [m for m in seeded.measurements if m.metric != metric]
    ms = [measured(id_, metric, value) for id_, value in zip(ids, values, strict=True)]
    record = seeded.model_copy(update={"measurements": (*others, *ms)})
    cell = number(record, next(s for s in model_groups(record) if s.label == "student-kd"), metric)
    assert cell.value == pytest.approx(np.mean(values))
    assert cell.interval.low == bounds[0]
    assert bounds[1] is None or cell.interval.high == bounds[1]


def test_counts_over_seeds_are_their_mean(seeded):
    ids = [card.id for card in seeded.models if card.name == "student-kd"]
    others = [card.id for card in seeded.models if card.name == "student-alone"]
    ms = [
        measured(id_, "mismatches", count, axes={"beside": other}, n=90)
        for id_, other, count in zip(ids, others, (10, 21), strict=True)
    ]
    record = seeded.model_copy(update={"measurements": (*seeded.measurements, *ms)})
    drawn = table(record, "Mismatch analysis")
    assert texts(drawn)[0][:3] == ["student-kd", "student-alone", "15.5"]
    assert "`of`" not in drawn.notes[0], "no cell has it"
