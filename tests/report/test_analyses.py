"""Tables and figure of what logits tell beyond accuracy, from the sample record with such findings added."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from kdbench.report import tables
from kdbench.report.cells import Number
from kdbench.report.figures.classes import class_accuracy
from kdbench.report.model_groups import model_groups, number
from kdbench.report.table import Table
from kdbench.report.tables.accuracy import class_shares, differences
from kdbench.results.records import Interval, measured, missing

TRAIN = {"part": "train"}
STUDENTS = ("student-alone", "student-kd", "student-hint")
TITLES = [
    "Train against test",
    "Calibration",
    "Per-class accuracy",
    "Label noise",
    "Mismatch analysis",
    "A mismatch that standardization fixes",
    "Risk variance",
]


def found(name):
    """Return what the analyses find of one model of the sample."""
    number = ("teacher", *STUDENTS).index(name)
    ms = [measured(name, "class_top1", (97 - 3 * number * (k == "b")) / 100, axes={"class": k}, n=36) for k in "ab"]
    ms += [
        measured(name, "ece", 0.01 * (number + 1), n=360),
        measured(name, "ece", 0.004, axes=TRAIN, n=1200),
        measured(name, "loss", 0.01, axes=TRAIN, n=1200),
        measured(name, "top1", 0.9975, axes=TRAIN, interval=Interval(low=0.992, high=0.999), n=1200),
        measured(name, "noise_memorised", 0.25, n=500),
        measured(name, "noise_corrected", 0.6, interval=Interval(low=0.55, high=0.65), n=500),
    ]
    if name == "teacher":
        return [m for m in ms if not m.metric.startswith("noise")]
    ms += [
        measured(name, "agreement", 0.9, axes=TRAIN, interval=Interval(low=0.88, high=0.93), n=1200),
        measured(name, "predictive_kl", 0.02, axes=TRAIN, n=1200),
        measured(name, "standardized_kl", 0.07, n=360),
        measured(name, "logit_spearman", 0.7 + 0.01 * number, n=360),
        measured(name, "empirical_risk_variance", 0.5, n=360),
        measured(name, "distilled_risk_variance", 0.4, n=360),
    ]
    if name == "student-kd":
        for axes, counts in (({}, (12, 4, 1)), (TRAIN, (31, 2, 0))):
            where = {**axes, "beside": "student-alone"}
            for metric, count in zip(("mismatches", "mismatches_fixed", "mismatches_made"), counts, strict=True):
                ms.append(measured(name, metric, count, axes=where, n=90))
    other = {"student-kd": "student-alone", "student-alone": "student-kd"}.get(name)
    if other:
        where = {"sample": 17, "class": "a", "beside": other}
        values = (0.7206, 0.4629, 0.5695, 0) if name == "student-kd" else (0.9, 0.336, 0.7063, 1)
        metrics = ("predictive_kl", "standardized_kl", "logit_spearman", "top1")
        ms += [measured(name, metric, v, axes=where, n=1) for metric, v in zip(metrics, values, strict=True)]
    return ms


@pytest.fixture
def analysed(make_record):
    base = make_record()
    more = [m for card in base.models for m in found(card.id)]
    return make_record(measurements=(*base.measurements, *more))


def table(record, title) -> Table:
    return next(table for table in tables.build_tables(record) if table.title == title)


def texts(drawn: Table):
    return [[cell.text for cell in row.cells] for row in drawn.rows]


def test_tables_appear_only_where_something_was_looked_into(sample, analysed):
    assert not {t.title for t in tables.build_tables(sample)} & set(TITLES)
    assert [t.title for t in tables.build_tables(analysed)][2 : 3 + len(TITLES)] == ["Fidelity", *TITLES]


def test_the_test_set_is_not_mixed_up_with_anything_else(sample, analysed):
    assert texts(tables.summary(analysed)) == texts(tables.summary(sample))
    of_both = [texts(table(record, "Fidelity")) for record in (sample, analysed)]
    assert [[row[1], row[2], row[-1]] for row in of_both[0]] == [[row[1], row[2], row[-1]] for row in of_both[1]]


def test_fidelity_has_the_columns_that_were_taken(sample, analysed):
    assert [c.head for c in table(sample, "Fidelity").columns][1:] == ["Agreement", "KL to teacher", "Loss"]
    drawn = table(analysed, "Fidelity")
    assert [c.head for c in drawn.columns][3:5] == ["KL, standardized", "Rank correlation"]
    assert texts(drawn)[0][1:5] == ["–"] * 4
    assert texts(drawn)[2][4] == "0.7200"
    assert "Spearman" in drawn.notes[0]
    assert "Spearman" not in table(sample, "Fidelity").notes[0]


def test_kd_error_is_what_agreement_lacks_of_1(analysed):
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


def test_calibration_of_a_record_without_training_images_has_the_test_set_alone(analysed):
    drawn = table(analysed, "Calibration")
    assert [c.head for c in drawn.columns][1:] == ["ECE, test", "ECE, train", "Loss, test", "Loss, train"]
    assert [row[1] for row in texts(drawn)] == ["1.00 %", "2.00 %", "3.00 %", "4.00 %"]
    assert isinstance(drawn.rows[1].cells[1], Number)
    assert drawn.rows[1].cells[1].best
    without = analysed.model_copy(update={"measurements": tuple(m for m in analysed.measurements if m.axes != TRAIN)})
    assert [c.head for c in table(without, "Calibration").columns][1:] == ["ECE, test", "Loss, test"]


def test_wrong_labels_are_shared_out_among_three(analysed):
    drawn = table(analysed, "Label noise")
    assert texts(drawn) == [[name, "500", "60.00 %", "25.00 %", "15.00 %"] for name in STUDENTS]


def test_mismatches_are_counted_on_both_parts(analysed):
    assert texts(table(analysed, "Mismatch analysis")) == [
        ["student-kd", "student-alone", "12 (of 90)", "4", "1", "31 (of 90)", "2", "0"]
    ]


def test_the_example_has_the_form_of_the_study(analysed):
    # Ahad's table 2.3, whose numbers these are.
    assert texts(table(analysed, "A mismatch that standardization fixes")) == [
        ["17 (a)", "student-kd", "0.7206", "0.4629", "0.5695", "wrong"],
        ["17 (a)", "student-alone", "0.9000", "0.3360", "0.7063", "right"],
    ]


def test_risk_variances_and_their_ratio(analysed):
    assert texts(table(analysed, "Risk variance")) == [[name, "0.5000", "0.4000", "0.8000"] for name in STUDENTS]


def test_a_risk_that_does_not_vary_has_no_ratio(make_record):
    ms = [measured("student-kd", f"{kind}_risk_variance", 0.0) for kind in ("empirical", "distilled")]
    assert texts(table(make_record(measurements=ms), "Risk variance"))[0][3].startswith("n/a (the empirical risk")


def test_few_classes_have_a_column_each(analysed):
    drawn = table(analysed, "Per-class accuracy")
    assert [c.head for c in drawn.columns] == ["Model", "a", "b"]
    assert texts(drawn)[3] == ["student-hint", "97.00 %", "88.00 %"]


@pytest.fixture
def hundred(make_record):
    """The sample with a hundred classes: the students lose on the even, gain on the odd ones."""
    base = make_record()
    ms = []
    for place, card in enumerate(base.models):
        for k in range(100):
            share = 0.5 + 0.004 * k + (0.0005 * place * k * (-1) ** (k + 1))
            ms.append(measured(card.id, "class_top1", share, axes={"class": f"class{k}"}, n=100))
    return make_record(measurements=(*base.measurements, *ms))


def test_many_classes_are_told_by_their_extremes(hundred):
    drawn = table(hundred, "Per-class accuracy")
    assert texts(drawn)[0][1:] == [
        "class0 50 %, class1 50 %, class2 51 %",
        "class99 90 %, class98 89 %, class97 89 %",
        "–",
        "–",
    ]
    assert texts(drawn)[3][3:] == [
        "class98 -14.70, class96 -14.40, class94 -14.10",
        "class99 +14.85, class97 +14.55, class95 +14.25",
    ]


def test_of_several_seeds_classes_are_the_mean(seeded, make_record):
    ms = [measured(card.id, "class_top1", 0.8 if card.seed else 0.9, axes={"class": 3}) for card in seeded.models]
    record = seeded.model_copy(update={"measurements": (*seeded.measurements, *ms)})
    assert class_shares(record)["student-kd"][3] == pytest.approx(0.85)
    assert differences(class_shares(record), "student-kd", "teacher")[3] == pytest.approx(0)


@pytest.mark.parametrize(
    ("metric", "values", "bounds"),
    [
        ("logit_spearman", (0.2, 0.9), (-1, 1)),
        ("predictive_kl", (0.1, 0.4), (0, None)),
        ("empirical_risk_variance", (0.1, 0.4), (0, None)),
        ("noise_corrected", (0.1, 0.4), (0, 1)),
    ],
)
def test_an_interval_over_seeds_stays_within_what_can_be(seeded, metric, values, bounds):
    ids = [card.id for card in seeded.models if card.name == "student-kd"]
    others = [m for m in seeded.measurements if m.metric != metric]
    ms = [measured(id_, metric, value) for id_, value in zip(ids, values, strict=True)]
    record = seeded.model_copy(update={"measurements": (*others, *ms)})
    cell = number(record, next(s for s in model_groups(record) if s.label == "student-kd"), metric)
    assert cell.value == pytest.approx(np.mean(values))
    assert cell.interval.low == bounds[0]
    assert bounds[1] is None or cell.interval.high == bounds[1]


def words(svg: str) -> set[str]:
    return {"".join(node.itertext()).strip() for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


def test_the_figure_names_models_and_few_classes(hundred, analysed):
    assert {"teacher", "student-kd", "points", "top-1, %"} <= words(class_accuracy(hundred).svg)
    assert {"a", "b", "class"} <= words(class_accuracy(analysed).svg)
    assert class_accuracy(hundred).svg == class_accuracy(hundred).svg


def test_the_figure_of_models_without_a_teacher_shows_one_of_many_classes(hundred, analysed, make_record):
    alone = hundred.model_copy(update={"pairs": ()})
    assert "points" not in words(class_accuracy(alone).svg)
    assert class_accuracy(analysed.model_copy(update={"pairs": ()})) is None  # the table says it all
    assert class_accuracy(make_record()) is None


def test_students_of_other_classes_than_their_teachers_have_no_differences():
    shares = {"t": {"a": 0.5}, "s": {"b": 0.5}}
    assert differences(shares, "s", "t") == {}
    assert np.isclose(differences({"t": {"a": 0.5}, "s": {"a": 0.75}}, "s", "t")["a"], 25)


def test_counts_over_seeds_are_their_mean(seeded):
    ids = [card.id for card in seeded.models if card.name == "student-kd"]
    others = [card.id for card in seeded.models if card.name == "student-alone"]
    ms = [
        measured(id_, "mismatches", count, axes={"beside": other}, n=90)
        for id_, other, count in zip(ids, others, (10, 21), strict=True)
    ]
    record = seeded.model_copy(update={"measurements": (*seeded.measurements, *ms)})
    assert texts(table(record, "Mismatch analysis"))[0][:3] == ["student-kd", "student-alone", "15.5"]
