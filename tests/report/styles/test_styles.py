"""The layouts of five published reports, head by head, filled from records of real runs (`records/`, abridged)."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kdbench import report
from kdbench.errors import InputError
from kdbench.report import Content
from kdbench.report.cells import Number
from kdbench.report.render.markdown import render
from kdbench.report.render.tabular import table_csv
from kdbench.report.styles import STYLES, Layout, lay_out
from kdbench.report.table import Table
from kdbench.results.records import RunRecord

RECORDS = Path(__file__).parents[2] / "records"

# The heads as the studies print them. Ours come last where a study's row needs no name and a run's does.
AHAD_SUMMARY = (
    "Model | Top-1 Accuracy | Top-5 Accuracy | Avg. Latency | Model Size | Energy / Run | MACs / Batch"  # section 1
)
AHAD_STANDARDIZATION = (  # section 2.3
    "Setup | KL Divergence (ORIGINAL) | KL Divergence (STANDARDIZED) | Ranking Correlation (Spearman) | "
    "Prediction Correctness"
)
MISMATCHES = (  # section 2.2 says so in a sentence
    "Student | Beside | Mismatches, test | Fixed, test | Made, test | Mismatches, train | Fixed, train | Made, train"
)
AHAD_METRICS = (  # section 3.2, the rows; there is no energy without a meter, and the row says so
    "Top-1 Accuracy | Top-5 Accuracy | Avg. Latency | Energy / Run | MACs / Batch | Convergence Speed"
)
AHAD_SIZES = "Model | Parameter Count (Size) | Top-1 Accuracy | Top-5 Accuracy"  # section 4.2
GUPTA_MNIST = (  # table 1
    "Student Layer Size | Temperature | No. of Epochs | Batch Size | Accuracy | Training Time (seconds) | "
    "Inference Time Ratio (Teacher/Student)"
)
GUPTA_CIFAR = (  # table 2
    "Experiment | Accuracy | Training Time (seconds) | Inference Time Ratio (Teacher / Student)"
)
SHIN_CAPACITY = "Student | Teacher | KD Error (%, Train) | KD Error (%, Test)"
SHIN_ERRORS = "Teacher | Teacher Error (%) | Student Error (%)"
SHIN_LOSSES = "Teacher | Top-1 Error (%, Test) | CE (Train) | KL (Train) | KL (Test)"  # the talk's KD is another loss
ROSET_MODELS = "Ref | Model | Top-1 Acc.(%) | Top-5 Acc.(%) | #Params.(M) | #MAdds(M)"  # table 1
ROSET_TRAINED = "Teacher | Mixup | Learning Rate | Temperature | Top-1 Acc.(%)"  # table 2


@pytest.fixture(scope="module")
def records() -> dict[str, RunRecord]:
    return {
        name: RunRecord.read(RECORDS / f"{name}.json")
        for name in ("digits", "digits_methods", "mnist_dense", "mnist_noise")
    }


def heads(table: Table) -> str:
    return " | ".join(column.head for column in table.columns)


def titled(layout: Layout, title: str) -> Table:
    return next(table for table in layout.tables if table.title == title)


def rows_by(table: Table, head: str) -> dict[str, dict[str, object]]:
    """Return the rows as heads to cells, by the text under `head`."""
    named = [dict(zip((column.head for column in table.columns), row.cells, strict=True)) for row in table.rows]
    return {row[head].text: row for row in named}


def value(cell: object) -> float:
    assert isinstance(cell, Number)
    assert cell.value is not None
    return cell.value


@pytest.mark.parametrize(
    ("run", "style", "expected"),
    [
        ("digits_methods", "summary", [AHAD_SUMMARY, MISMATCHES, f"{AHAD_STANDARDIZATION} | Sample", AHAD_SIZES]),
        ("mnist_dense", "ratio", [f"{GUPTA_MNIST} | Student"]),
        ("digits_methods", "ratio", [GUPTA_CIFAR]),
        ("mnist_dense", "sweep", ["Model | Accuracy Score", "Temperature | Accuracy Score", "Epochs | Accuracy Score"]),
        ("digits_methods", "fidelity", [SHIN_CAPACITY, f"{SHIN_ERRORS} | Student", f"{SHIN_LOSSES} | Student"]),
        ("digits", "teachers", [ROSET_MODELS, f"{ROSET_TRAINED} | Student"]),
    ],
)
def test_tables_have_the_studies_heads_in_their_order(records, run, style, expected):
    assert [heads(table) for table in lay_out(records[run], style).tables][: len(expected)] == expected


@pytest.mark.parametrize(
    ("style", "figures"),
    [
        ("summary", ["training_curves"]),
        ("teachers", ["training_curves"]),
        ("sweep", ["sweeps"]),
        ("ratio", []),
        ("fidelity", []),
    ],
)
def test_a_style_has_the_figures_that_its_study_draws(records, style, figures):
    assert [drawing.name for drawing in Content(records["mnist_dense"], style=style).drawings] == figures


def test_summary_compares_methods_in_columns(records):
    table = titled(lay_out(records["digits"], "summary"), "Quantitative Comparison Table")
    assert heads(table) == "Metric | student-kd | student-hint"
    assert " | ".join(row.cells[0].text for row in table.rows) == AHAD_METRICS
    kd = records["digits"].find("student-kd", "top1")
    assert value(table.rows[0].cells[1]) == kd.value
    hint = records["digits"].find("student-hint", "top1")
    best = [cell.best for cell in table.rows[0].cells[1:]]
    assert best == [kd.value >= hint.value, hint.value >= kd.value]


def test_students_of_several_networks_have_their_parameters_and_size(records):
    table = titled(lay_out(records["digits_methods"], "summary"), "Comparison Table")
    cell = rows_by(table, "Model")["sub-students"]["Parameter Count (Size)"]
    assert cell.value == records["digits_methods"].find("sub-students", "parameters").value
    assert cell.text == "16.170 k (116 kB)"
    assert not any(table.title == "Comparison Table" for table in lay_out(records["digits"], "summary").tables)


def test_ratios_of_dense_students_are_sorted_by_ratio(records):
    record = records["mnist_dense"]
    (table,) = lay_out(record, "ratio").tables
    stored = [value(row.cells[6]) for row in table.rows]
    assert stored == sorted(stored, reverse=True)
    by = rows_by(table, "Student")
    settings = {name: " ".join(cell.text for cell in list(row.values())[:4]) for name, row in by.items()}
    assert settings["w784-50-10"] == "50 3.5 3 32"
    assert settings["T10"] == "300 10 3 32"
    assert settings["epochs5"] == "300 3.5 5 32"
    assert settings["batch64"] == "300 3.5 3 64"
    assert settings["w300-alone"] == "300 – 3 32"
    pair = record.find_pair("T10-seed0", "latency_ratio", batch=1, threads=1)
    assert value(by["T10"]["Inference Time Ratio (Teacher/Student)"]) == pair.value
    assert by["T10"]["Inference Time Ratio (Teacher/Student)"].interval == pair.interval
    seconds = record.find("T10-seed0", "training_s").value
    assert value(by["T10"]["Training Time (seconds)"]) == seconds
    assert by["T10"]["Training Time (seconds)"].text == f"{seconds:.3f}"


def test_experiments_stand_in_the_records_order_and_compete_with_those_of_their_teacher(records):
    (table,) = lay_out(records["digits_methods"], "ratio").tables
    students = [card.name for card in records["digits_methods"].models if card.role == "student"]
    assert [row.cells[0].text for row in table.rows] == students
    assert {row.ranking for row in table.rows} == {"teacher", "early-teacher", "born-again-1"}
    assert any("average inference time" in note for note in table.notes)


def test_sweep_of_two_axes_has_a_column_per_value_of_the_second(records):
    record = records["mnist_noise"]
    table = next(table for table in lay_out(record, "sweep").tables if "kd-" in table.title)
    assert heads(table) == "Share | Accuracy Score, Teacher teacher-2 | Accuracy Score, Teacher teacher-10"
    assert [row.cells[0].text for row in table.rows] == ["0.05", "0.1", "0.2"]
    seeds = [record.find(f"kd-teacher-10-noise0_2-seed{seed}", "top1").value for seed in (0, 1)]
    assert value(table.rows[2].cells[2]) == pytest.approx(sum(seeds) / 2)
    assert table.rows[2].cells[2].text == f"{sum(seeds) / 2:.4f}"
    assert any("`alone-noise0_05`" in note for note in table.notes)


def test_label_weight_is_called_alpha(make_record, make_card, sample):
    cards = [sample.models[0]]
    for epochs in (100, 300):
        for alpha in (0.1, 1.0):
            name = f"ce{alpha}-{epochs}"
            axes = {"epochs": epochs, "ce_weight": alpha}
            cards.append(make_card("student-kd", id=name, name=name, family="ce{ce_weight}-{epochs}", axes=axes))
    more = make_card(
        "student-kd", id="late", name="late", family="ce{ce_weight}-{epochs}", axes={"epochs": 100, "ce_weight": 0.5}
    )
    record = make_record(models=[*cards, more], measurements=(), pairs=(), warnings=())
    (table,) = lay_out(record, "sweep").tables
    assert heads(table) == "Alpha | Accuracy Score, 100 epochs | Accuracy Score, 300 epochs"
    assert [row.cells[0].text for row in table.rows] == ["0.1", "0.5", "1.0"]
    assert table.rows[1].cells[2].text == "–"  # the sweep has no such point
    assert table.rows[0].cells[1].text == "n/a (not measured)"
    assert table.notes[0].startswith("Alpha: the weight of the cross-entropy")


def test_kd_error_is_one_minus_agreement_in_per_cent(records):
    record = records["digits_methods"]
    table = titled(lay_out(record, "fidelity"), "Capacity Discrepancy")
    row = rows_by(table, "Student")["attention"]
    for head, axes in (("Test", {}), ("Train", {"part": "train"})):
        stored = record.find("attention", "agreement", **axes)
        cell = row[f"KD Error (%, {head})"]
        assert value(cell) == pytest.approx(100 * (1 - stored.value))
        assert cell.interval.low == pytest.approx(100 * (1 - stored.interval.high))
        assert cell.interval.high == pytest.approx(100 * (1 - stored.interval.low))


def test_student_trained_on_labels_only_has_a_dash_as_teacher_error(records):
    table = titled(lay_out(records["digits_methods"], "fidelity"), "Teacher Error and Student Error")
    by = rows_by(table, "Student")
    assert (by["alone"]["Teacher"].text, by["alone"]["Teacher Error (%)"].text) == ("-", "-")
    assert by["from-early-teacher"]["Teacher"].text == "early-teacher"
    top1 = records["digits_methods"].find("early-teacher", "top1").value
    assert value(by["from-early-teacher"]["Teacher Error (%)"]) == pytest.approx(100 * (1 - top1))
    assert table.rows[0].cells[3].text == "alone"  # before the taught ones of its network


def test_note_without_training_images_names_the_recipe_key(sample):
    layout = lay_out(sample, "fidelity")
    assert "Cross-Entropy and Distillation" not in [table.title for table in layout.tables]
    assert any("analysis.train_samples" in note for note in layout.tables[0].notes)


def test_teachers_are_numbered_and_student_networks_appear_once(records):
    table = titled(lay_out(records["digits_methods"], "teachers"), "Metrics of the selected models")
    assert [row.cells[0].text for row in table.rows] == [
        *(f"Teacher {place}" for place in range(1, 5)),
        *(f"Student {place}" for place in range(1, 4)),
    ]
    student = table.rows[4].cells
    assert student[1].text == "convnet (widths 16-32-32)"
    alone = records["digits_methods"].find("alone", "top1")
    assert value(student[2]) == pytest.approx(100 * alone.value)
    assert value(student[4]) == pytest.approx(records["digits_methods"].find("alone", "parameters").value / 1e6)
    assert table.rows[6].cells[2].text == "n/a (not trained alone)"


def test_trainings_are_listed_with_settings_from_scratch_first(records):
    table = lay_out(records["digits_methods"], "teachers").tables[1]
    words = {name: [cell.text for cell in list(row.values())[:4]] for name, row in rows_by(table, "Student").items()}
    assert table.rows[0].cells[0].text == "Trained from scratch"
    assert words["alone"][1::2] == ["N", "NA"]
    assert words["function-matching"][1::2] == ["Y", "2"]
    assert words["multi-teacher"][0] == "teacher + second-teacher"
    assert words["hint"][3] == "NA"
    assert words["kd"][3] == "4"  # the method's default, which the recipe does not write


@pytest.mark.parametrize(
    ("style", "what"),
    [
        ("sweep", "no sweep"),
        ("ratio", "no inference time ratio"),
        ("teachers", "no student"),
        ("fidelity", "no agreement"),
    ],
)
def test_a_style_that_does_not_apply_says_what_to_run_and_which_styles_do(make_record, sample, style, what):
    record = make_record(models=[sample.models[0]], measurements=sample.measurements[:3], pairs=(), warnings=())
    with pytest.raises(InputError, match=what) as caught:
        lay_out(record, style)
    assert "kdbench run" in caught.value.hint or "kdbench bench" in caught.value.hint
    assert caught.value.hint.endswith("styles that apply to this run: summary")


@pytest.mark.parametrize("style", STYLES.names())
def test_every_page_names_its_study_and_where_its_numbers_come_from(records, style):
    text = render(Content(records["mnist_dense"], style=style))
    assert f"Layout after {lay_out(records['mnist_dense'], style).after}" in text
    assert "by `kdbench run mnist_dense --out mnist_dense`." in text
    assert "at commit `43351c5d61f0`" in text
    assert "Metric definitions" not in text


def test_a_style_is_written_beside_the_report_which_stays_as_it_is(records, tmp_path):
    content = Content(records["mnist_dense"])
    report.write(content, tmp_path)
    before = (tmp_path / "report.md").read_bytes()
    files = report.write(replace(content, style="sweep"), tmp_path, ["md", "csv", "json"])
    assert [file.name for file in files] == [
        "report-sweep.md",
        "sweeps.svg",
        "report-sweep.csv",
        "report-sweep-2.csv",
        "report-sweep-3.csv",
        "report-sweep-4.csv",
        "report-sweep.json",
    ]
    assert (tmp_path / "report.md").read_bytes() == before
    written = json.loads((tmp_path / "report-sweep.json").read_text())
    assert [table["title"] for table in written["tables"]][1] == "Accuracy Scores across Temperature: T{temperature}"
    assert written["tables"][1]["rows"][0][0] == "1"
    assert 0.9 < written["tables"][1]["rows"][0][1]["low"] < written["tables"][1]["rows"][0][1]["value"] < 1


def test_csv_has_the_unrounded_number_with_its_bounds_and_the_reason_where_there_is_none(records):
    record = records["digits"]
    (row, *_) = csv.DictReader(io.StringIO(table_csv(lay_out(record, "summary").tables[0])))
    assert row["Model"] == "teacher"
    mean = record.find("teacher", "latency_mean_ns", batch=1)
    assert float(row["Avg. Latency [ns]"]) == mean.value
    assert float(row["Avg. Latency [ns], low"]) == mean.interval.low
    assert row["Energy / Run [J]"] == ""
    assert row["missing"].startswith("Energy / Run: ")


def test_a_style_is_one_more_entry_of_the_register(monkeypatch, sample):
    STYLES.names()  # loaded, so that what follows is added to all there are
    monkeypatch.setattr(STYLES, "_entries", dict(STYLES._entries))
    table = lay_out(sample, "summary").tables[0]
    STYLES.register("mine")(lambda record: Layout("a study of mine", (table,)))
    assert Content(sample, style="mine").tables == [table]
    assert Content(sample, style="mine").drawings == []
    with pytest.raises(InputError, match="unknown report style"):
        lay_out(sample, "yours")
