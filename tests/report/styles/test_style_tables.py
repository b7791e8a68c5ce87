"""The tables of each style, filled from records of real runs."""

import pytest
from report.styles.table_rows import heads, rows_by, titled, value

from kdbench.report.styles import lay_out

AHAD_METRICS = (  # section 3.2, the rows; there is no energy without a meter, and the row says so
    "Top-1 Accuracy | Top-5 Accuracy | Avg. Latency | Energy / Run | MACs / Batch | Convergence Speed"
)


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
