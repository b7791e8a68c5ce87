import pytest

from kdbench.report.tables import build_tables
from kdbench.report.tables.runtimes import runtimes
from kdbench.results.records import measured, missing

AT = {"provider": "cpu", "threads": 1, "batch": 1}
OTHER = {**AT, "runtime": "openvino"}


@pytest.fixture
def record(make_record, sample):
    def make(*more):
        return make_record(
            measurements=(
                *sample.measurements,
                measured("teacher", "latency_p50_ns", 1.23e5, axes=OTHER),
                measured("teacher", "runtime_ratio", 1.75, axes={**OTHER, "beside": "onnxruntime"}),
                *more,
            )
        )

    return make


def cells(table, *start):
    heads = [column.head for column in table.columns]
    (row,) = [row for row in table.rows if tuple(cell.text for cell in row.cells[: len(start)]) == start]
    return dict(zip(heads, (cell.text for cell in row.cells), strict=True))


def test_each_runtime_has_a_row_with_its_own_score(record):
    more = [measured("teacher", metric, v, axes={"runtime": "openvino"}) for metric, v in
            (("top1", 0.5), ("answers_changed", 0.03))]  # fmt: skip
    table = runtimes(record(*more))
    other = cells(table, "teacher", "openvino", "1", "1")
    assert (other["Latency p50"], other["Speed-up over onnxruntime"]) == ("123 µs", "1.75×")
    assert (other["Top-1"], other["Changed answers"]) == ("50.00 %", "3.00 %")
    usual = cells(table, "teacher", "onnxruntime", "1", "1")
    assert usual["Speed-up over onnxruntime"] == usual["Changed answers"] == "–"
    assert usual["Top-1"] != "50.00 %"


def test_a_runtime_that_no_model_runs_in_has_rows_with_the_reason(make_record, sample):
    refused = missing("teacher", "latency_p50_ns", "its network is unknown", axes={**AT, "runtime": "torch"})
    table = runtimes(make_record(measurements=(*sample.measurements, refused)))
    assert "its network is unknown" in cells(table, "teacher", "torch", "1", "1")["Latency p50"]
    assert "teacher" in cells(table, "teacher", "onnxruntime", "1", "1").values()


def test_the_fastest_runtime_of_each_model_is_the_best(record):
    table = runtimes(record())
    column = [shown.head for shown in table.columns].index("Latency p50")
    best = {row.cells[1].text for row in table.rows if row.cells[0].text == "teacher" and row.cells[column].best}
    assert best == {"openvino"}


def test_one_runtime_alone_has_no_table(sample):
    assert not runtimes(sample).shown
    assert "Runtimes" not in [table.title for table in build_tables(sample)]


def test_a_network_has_no_score_of_its_own(record, sample):
    table = runtimes(record())
    assert cells(table, "teacher", "openvino", "1", "1")["Top-1"] == "–"
    assert "Changed answers" not in [column.head for column in table.columns]


def test_a_converted_file_has_its_size_where_it_is_timed(record):
    timed = measured("teacher", "deployed_bytes", 98_304, axes={"runtime": "openvino"})
    other = measured("teacher", "deployed_bytes", 65_536, axes={"runtime": "tflite-micro"})
    table = runtimes(record(timed, other))
    sizes = [cells(table, "teacher", name, "1", "1")["Deployed file"] for name in ("onnxruntime", "openvino")]
    assert sizes == ["–", "98.3 kB"]
    assert "Deployed file" not in [column.head for column in runtimes(record(other)).columns]
