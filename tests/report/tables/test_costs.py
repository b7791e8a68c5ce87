import pytest

from kdbench.report.cells import Number
from kdbench.report.tables import costs
from kdbench.results.records import measured, missing

SINGLE = {"provider": "cpu", "threads": 1, "batch": 1}


def heads(table):
    return [column.head for column in table.columns]


def cells(table, label):
    (match,) = [row.cells for row in table.rows if row.cells[0].text == label]
    return dict(zip(heads(table), (cell.text for cell in match), strict=True))


def test_start_and_memory_have_a_table_apart_from_cost(sample) -> None:
    assert "Load" not in heads(costs.cost(sample))
    of_student = cells(costs.start_and_memory(sample), "student-kd")
    assert of_student == {
        "Model": "student-kd",
        "Load": "9.40 ms",
        "First run": "1.90 ms",
        "Steady run": "221 µs",
        "Peak memory, batch 1": "56.1 MB",
        "Peak memory, batch 128": "62.6 MB",
        "Model memory, batch 1": "1.14 MB",
        "Model memory, batch 128": "7.62 MB",
        "Memory ratio": "1.23×",
    }


def test_only_the_ratio_is_ranked(sample) -> None:
    rows = costs.start_and_memory(sample).rows
    assert not any(isinstance(cell, Number) and cell.best for row in rows for cell in row.cells[:-1])


def test_start_note_names_import_time_and_page_cache(make_record) -> None:
    (start, _) = costs.start_and_memory(make_record(protocol={"runtime_import_ns": 26e6})).notes
    assert "page cache" in start
    assert "takes another 26.0 ms before that, for any model" in start


def test_a_model_of_fixed_batch_shows_its_memory_at_that_batch(make_record, make_card, sample) -> None:
    fixed = make_card("student-kd", id="fixed", name="fixed", fixed_batch=8)
    peak = measured("fixed", "peak_memory_bytes", 7e7, axes={**SINGLE, "batch": 8})
    record = make_record(models=(*sample.models, fixed), measurements=(*sample.measurements, peak))
    table = costs.start_and_memory(record)
    assert "Peak memory, batch 8" not in heads(table)
    assert cells(table, "fixed")["Peak memory, batch 1"] == "70.0 MB (batch 8)"


def test_fixed_batches_alone(make_record, make_card) -> None:
    fixed = make_card("teacher", fixed_batch=8)
    peak = measured("teacher", "peak_memory_bytes", 7e7, axes={**SINGLE, "batch": 8})
    table = costs.start_and_memory(make_record(models=[fixed], measurements=[peak], pairs=(), warnings=()))
    assert cells(table, "teacher") == {"Model": "teacher", "Peak memory, batch 1": "70.0 MB (batch 8)"}


def test_a_failure_keeps_its_reason(make_record, sample) -> None:
    failed = missing("teacher", "device_memory_bytes", "NVML: no driver", axes=SINGLE)
    table = costs.start_and_memory(make_record(measurements=(*sample.measurements, failed)))
    assert cells(table, "teacher")["Device memory, batch 1"] == "n/a (NVML: no driver)"


def test_runtimes_have_separate_rows(make_record, sample) -> None:
    compiled = measured("teacher", "load_ns", 3.1e9, axes={**SINGLE, "runtime": "torch-compiled"})
    # What comes first in the record must not pass for onnxruntime's.
    table = costs.start_and_memory(make_record(measurements=(compiled, *sample.measurements)))
    mine = [tuple(cell.text for cell in row.cells[:4]) for row in table.rows if row.cells[0].text == "teacher"]
    assert mine == [("teacher", "onnxruntime", "9.40 ms", "1.90 ms"), ("teacher", "torch-compiled", "3.10 s", "–")]


@pytest.mark.parametrize("build", [costs.cost, costs.start_and_memory])
def test_without_measurements_there_is_no_table(make_record, make_card, build) -> None:
    record = make_record(models=[make_card("teacher")], measurements=(), pairs=(), warnings=())
    assert "Load" not in heads(build(record))
    assert not build(record).notes
