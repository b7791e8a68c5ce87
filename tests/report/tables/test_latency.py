from kdbench.report import tables
from kdbench.report.axes import configurations
from kdbench.report.figures.scaling import throughput
from kdbench.report.tables.latency import offline
from kdbench.results.records import measured

AT = {"provider": "cpu", "threads": 1, "mode": "offline"}


def test_the_largest_throughput_where_it_is_and_beside_the_teachers(swept) -> None:
    table = offline(swept)
    heads = [column.head for column in table.columns]
    assert heads == ["Model", "Max. throughput", "At batch", "Batches tried", "At batch 1", "Throughput ratio"]
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["teacher", "1,600 /s", "4", "1 to 16", "900 /s", "–"],
        ["student-kd", "14,000 /s", "4", "1 to 4", "5,000 /s", "8.75×"],
        ["student-hint", "n/a (killed by signal 9)", "–", "–", "–", "n/a (killed by signal 9)"],
    ]
    assert table.footnotes[0].startswith("Throughput offline with 1 thread may be larger: the budget was too short")
    assert "1 thread, cpu provider" in table.notes[0]


def test_a_fixed_batch_is_the_only_one(make_record, swept) -> None:
    eight = measured("teacher", "throughput_per_s", 100.0, axes={**AT, "batch": 8})
    best = measured("teacher", "max_throughput_per_s", 100.0, axes=AT)
    table = offline(make_record(measurements=(eight, best)))
    assert [cell.text for cell in table.rows[0].cells] == ["teacher", "100 /s", "8", "8 only", "–", "–"]


def test_thread_counts_are_rows_and_a_column(make_record, swept) -> None:
    more = measured("teacher", "max_throughput_per_s", 3000.0, axes={**AT, "threads": 2})
    table = offline(make_record(measurements=(*swept.measurements, more)))
    assert [row.cells[1].text for row in table.rows] == ["1", "1", "1", "2"]
    assert "thread" not in table.notes[0]


def test_a_sweep_is_no_row_of_the_latency_table_and_no_headline(swept, sample) -> None:
    assert configurations(swept) == configurations(sample)
    assert tables.latency(swept) == tables.latency(sample)


def test_throughput_alone_says_why_there_is_no_latency(make_record, swept) -> None:
    offline_only = [m for m in swept.measurements if m.axes.get("mode") == "offline"]
    record = make_record(measurements=offline_only, pairs=(), protocol={"mode": ["offline"]})
    assert {row.cells[3].text for row in tables.summary(record).rows} == {"n/a (not measured in offline mode)"}
    assert not tables.latency(record).rows


def test_without_a_sweep_there_is_no_table_and_no_figure(sample) -> None:
    assert not offline(sample).rows
    assert throughput(sample) is None


def test_the_figure_has_a_curve_for_each_model_that_was_swept(swept) -> None:
    drawing = throughput(swept)
    assert drawing is not None
    assert "student-kd" in drawing.svg
    assert "student-alone" not in drawing.svg
    assert "1 thread" in drawing.svg
    assert drawing == throughput(swept)
