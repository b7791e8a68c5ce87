"""The table of flips, and what other parts of a report make of pairs that compare no single metric."""

import pytest

from kdbench.report import tables
from kdbench.report.model_groups import model_groups
from kdbench.report.numbers import number
from kdbench.report.render.tabular import record_rows
from kdbench.report.tables.flips import flips
from kdbench.results.records import Interval, Pair


def pairs(student="student-kd", teacher="teacher", shift=0.0, class_="cat"):
    both = {"teacher": teacher, "student": student}
    return [
        Pair(
            metric="negative_flips", value=0.02 + shift, interval=Interval(low=0.01, high=0.04 + shift), n=360, **both
        ),
        Pair(metric="positive_flips", value=0.01, interval=Interval(low=0.003, high=0.024), n=360, **both),
        Pair(metric="mcnemar_p", value=0.039, n=11, **both),
        Pair(
            metric="worst_class_drop",
            value=4.2,
            interval=Interval(low=-0.3, high=8.9),
            n=36,
            axes={"class": class_},
            **both,
        ),
        Pair(metric="ece_shift", value=0.4, n=360, **both),
        Pair(metric="overconfidence_shift", value=-0.2, interval=Interval(low=-0.5, high=0.1), n=360, **both),
    ]


@pytest.fixture
def flipped(sample):
    return sample.model_copy(update={"pairs": (*sample.pairs, *pairs())})


def shown(table):
    return [[getattr(cell, "with_interval", cell.text) for cell in row.cells] for row in table.rows]


def test_the_table_has_every_number_with_its_interval(flipped):
    assert shown(flips(flipped)) == [
        [
            "student-kd",
            "teacher",
            "2.00 % [1.00, 4.00]",
            "1.00 % [0.30, 2.40]",
            "+0.55 [-0.60, +1.70]",
            "0.039",
            "+4.20 (cat, n = 36) [-0.30, +8.90]",
            "+0.40",
            "-0.20 [-0.50, +0.10]",
        ]
    ]


def test_it_appears_only_with_flips(sample, flipped):
    titles = [[table.title for table in tables.build_tables(record)] for record in (sample, flipped)]
    assert "Flips" not in titles[0]
    assert [title for title in titles[1] if title not in titles[0]] == ["Flips"]


def test_several_seeds_have_their_mean_and_the_class_of_each(seeded):
    of_seeds = [*pairs(), *pairs("student-kd-s1", "teacher-s1", shift=0.02, class_="dog")]
    drawn = flips(seeded.model_copy(update={"pairs": (*seeded.pairs, *of_seeds)}))
    (row,) = drawn.rows
    assert row.cells[2].value == pytest.approx(0.03)
    assert row.cells[2].interval.low == 0
    assert row.cells[6].text == "+4.20 (cat, dog)"
    assert row.cells[7].interval is not None
    assert "ECE shift: growth of the calibration error, in points; its interval covers the choice of seeds only." in (
        " ".join(drawn.notes)
    )


def test_what_is_missing_has_its_reason(flipped):
    nothing = {"value": None, "interval": None, "status": "unavailable", "reason": "no test data was named"}
    without = [
        p.model_copy(update={**nothing, "axes": {}}) if p.metric in {"negative_flips", "worst_class_drop"} else p
        for p in flipped.pairs
    ]
    (row,) = flips(flipped.model_copy(update={"pairs": tuple(without)})).rows
    assert row.cells[2].text == row.cells[6].text == "n/a (no test data was named)"


def test_a_record_without_them_says_so(sample):
    student = next(group for group in model_groups(sample) if group.label == "student-kd")
    assert number(sample, student, "negative_flips").text == "n/a (not measured)"


def test_csv_has_a_row_for_each_with_the_class(flipped):
    head, *rows = record_rows(flipped)
    (worst,) = (row for row in rows if row[head.index("metric")] == "worst_class_drop")
    named = dict(zip(head, worst, strict=True))
    assert (named["class"], named["value"], named["unit"], named["n"]) == ("cat", 4.2, "points", 36)
    assert (named["teacher"], named["model"]) == ("teacher", "student-kd")
