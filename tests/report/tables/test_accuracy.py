"""Calibration, label noise and accuracy by class, as tables and as a figure."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from kdbench.report import tables
from kdbench.report.cells import Number
from kdbench.report.figures.accuracy import class_accuracy
from kdbench.report.table import Table
from kdbench.report.tables.accuracy import class_shares, differences
from kdbench.results.records import measured

TRAIN = {"part": "train"}
STUDENTS = ("student-alone", "student-kd", "student-hint")


def table(record, title) -> Table:
    return next(table for table in tables.build_tables(record) if table.title == title)


def texts(drawn: Table):
    return [[cell.text for cell in row.cells] for row in drawn.rows]


def words(svg: str) -> set[str]:
    return {"".join(node.itertext()).strip() for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


def test_calibration_without_training_images_shows_only_the_test_set(analysed):
    drawn = table(analysed, "Calibration")
    assert [c.head for c in drawn.columns][1:] == ["ECE, test", "ECE, train", "Loss, test", "Loss, train"]
    assert [row[1] for row in texts(drawn)] == ["1.00 %", "2.00 %", "3.00 %", "4.00 %"]
    assert isinstance(drawn.rows[1].cells[1], Number)
    assert drawn.rows[1].cells[1].best
    without = analysed.model_copy(update={"measurements": tuple(m for m in analysed.measurements if m.axes != TRAIN)})
    assert [c.head for c in table(without, "Calibration").columns][1:] == ["ECE, test", "Loss, test"]


def test_a_calibration_error_has_an_interval_only_over_seeds(analysed, seeded):
    of_seeds = [measured(card.id, "ece", 0.1 + 0.1 * (card.seed or 0), n=360) for card in seeded.models]
    several = table(seeded.model_copy(update={"measurements": (*seeded.measurements, *of_seeds)}), "Calibration")
    drawn = (table(analysed, "Calibration"), several)
    assert [one.rows[0].cells[1].interval is not None for one in drawn] == [False, True]
    assert ["It has no interval," in one.notes[0] for one in drawn] == [True, False]
    assert "its interval covers the choice of seeds only" in several.notes[0]


def test_wrong_labels_are_corrected_memorised_or_neither(analysed):
    drawn = table(analysed, "Label noise")
    assert texts(drawn) == [[name, "500", "60.00 %", "25.00 %", "15.00 %"] for name in STUDENTS]


def test_few_classes_have_one_column_each(analysed):
    drawn = table(analysed, "Per-class accuracy")
    assert [c.head for c in drawn.columns] == ["Model", "a", "b"]
    assert texts(drawn)[3] == ["student-hint", "97.00 %", "88.00 %"]


def test_many_classes_are_summarised_by_extremes(hundred):
    drawn = table(hundred, "Per-class accuracy")
    assert texts(drawn)[0][1:] == [
        "class0 40 %, class1 40 %, class2 41 %",
        "class99 80 %, class98 79 %, class97 79 %",
        "–",
        "–",
    ]
    assert texts(drawn)[3][3:] == [
        "class98 -14.70, class96 -14.40, class94 -14.10",
        "class99 +14.85, class97 +14.55, class95 +14.25",
    ]


def test_class_accuracy_is_the_mean_over_seeds(seeded, make_record):
    ms = [measured(card.id, "class_top1", 0.8 if card.seed else 0.9, axes={"class": 3}) for card in seeded.models]
    record = seeded.model_copy(update={"measurements": (*seeded.measurements, *ms)})
    assert class_shares(record)["student-kd"][3] == pytest.approx(0.85)
    assert differences(class_shares(record), "student-kd", "teacher")[3] == pytest.approx(0)


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
