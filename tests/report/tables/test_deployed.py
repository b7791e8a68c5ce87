"""Flash, RAM and answers of models on another processor."""

from kdbench.report.tables import build_tables
from kdbench.report.tables.deployed import deployed
from kdbench.results.records import measured, missing

MICRO = {"runtime": "tflite-micro"}


def test_file_arena_and_answers_stand_in_a_row_of_each_model(make_record, sample):
    more = [
        measured("teacher", metric, value, axes=MICRO)
        for metric, value in (
            ("deployed_bytes", 98_304),
            ("arena_bytes", 55_984),
            ("top1", 0.87),
            ("answers_changed", 0.02),
        )
    ]
    more += [
        missing("student-kd", metric, "no kernel for GELU", axes=MICRO)
        for metric in ("deployed_bytes", "arena_bytes", "top1", "answers_changed")
    ]
    table = deployed(make_record(measurements=(*sample.measurements, *more)))
    rows = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in table.rows}
    assert rows["teacher"] == ["tflite-micro", "98.3 kB", "56.0 kB", "87.00 %", "2.00 %"]
    assert all("no kernel for GELU" in text for text in rows["student-kd"][1:])
    assert [column.head for column in table.columns][2:4] == ["Deployed file", "Arena"]


def test_models_of_this_processor_have_no_such_table(sample):
    assert not deployed(sample).shown
    assert table_titles(sample).isdisjoint({"On another processor"})


def test_a_file_that_this_processor_runs_is_in_no_such_table(make_record, sample):
    file = measured("teacher", "deployed_bytes", 98_304, axes={"runtime": "litert"})
    assert not deployed(make_record(measurements=(*sample.measurements, file))).shown


def table_titles(record):
    return {table.title for table in build_tables(record)}
