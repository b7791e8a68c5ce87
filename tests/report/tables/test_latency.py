"""Tables of latency: throughput offline, and where the time goes by layer and by operator."""

import csv
import io

import pytest

from kdbench import report
from kdbench.report import tables
from kdbench.report.axes import configurations
from kdbench.report.figures.scaling import throughput
from kdbench.report.render.tabular import layer_rows
from kdbench.report.tables import build_tables
from kdbench.report.tables.latency import LEADING, offline, time_by_layer, time_by_operator
from kdbench.results.records import Layer, RunRecord, measured

PROFILED = {"provider": "cpu", "threads": 1, "batch": 1}
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


def layer(number, macs=100, model="teacher", total=1000.0, **more):
    time_ns = 10.0 * (number + 1)
    values = {"operator": "Conv", "macs": macs, "time_ns": time_ns, "time_share": time_ns / total, "axes": PROFILED}
    return Layer(model=model, name=f"layer{number}", **{**values, **more})


@pytest.fixture
def profiled(make_record):
    return make_record(layers=[layer(number) for number in range(LEADING + 3)])


def test_the_slowest_layers_lead_and_the_rest_are_one_row(profiled):
    table = time_by_layer(profiled)
    assert [row.cells[1].text for row in table.rows] == [*(f"layer{n}" for n in range(10, 2, -1)), "3 others"]
    rest = [cell.text for cell in table.rows[-1].cells[3:]]
    assert rest == ["60.0 ns", "6.00 %", "300", "27.27 %"]
    assert sum(row.cells[6].value for row in table.rows) == pytest.approx(1)
    assert "batch 1, 1 thread, cpu provider" in table.notes[0]


def test_note_lists_all_profiled_axes(make_record):
    fixed = layer(2, model="student-kd", axes={**PROFILED, "batch": 7})
    table = time_by_layer(make_record(layers=[layer(0), fixed]))
    assert "at batch 1, 1 thread, cpu provider, or batch 7, 1 thread, cpu provider, a separate pass" in table.notes[0]
    assert "convolutions, linear layers and matrix products" in table.notes[1]


def test_operators_are_summed_over_their_nodes(make_record):
    layers = [layer(0), layer(1), layer(4, macs=0, operator="QuantizeLinear"), layer(2, model="student-kd")]
    table = time_by_operator(make_record(layers=layers))
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["teacher", "QuantizeLinear", "1", "50.0 ns", "5.00 %", "0", "0.00 %"],
        ["teacher", "Conv", "2", "30.0 ns", "3.00 %", "200", "100.00 %"],
        ["student-kd", "Conv", "1", "30.0 ns", "3.00 %", "100", "100.00 %"],
    ]


def test_untraced_layer_has_a_reason_and_no_share(make_record):
    untraced = layer(9, macs=None, reason="Conv could not be traced to a layer of the file")
    table = time_by_layer(make_record(layers=[layer(0), untraced]))
    (first, second) = [row.cells for row in table.rows]
    assert (first[5].value, first[5].reason) == (None, "Conv could not be traced to a layer of the file")
    assert (second[5].value, second[6].value, second[6].reason) == (100, None, "the total is not known")


def test_a_report_without_a_profile_has_neither_table_nor_file(sample, tmp_path):
    assert "Where the time goes" not in {table.title for table in build_tables(sample)}
    assert [path.name for path in report.write(sample, tmp_path, ["csv"])] == ["report.csv"]


def test_every_format_has_the_layers(profiled, tmp_path):
    paths = {path.name: path.read_text(encoding="utf-8") for path in report.write(profiled, tmp_path, ["md", "csv"])}
    assert "## Where the time goes" in paths["report.md"]
    rows = list(csv.DictReader(io.StringIO(paths["layers.csv"])))
    assert [(row["position"], row["layer"], row["macs"], row["threads"]) for row in rows[:2]] == [
        ("1", "layer0", "100", "1"),
        ("2", "layer1", "100", "1"),
    ]
    assert len(rows) == LEADING + 3
    assert list(rows[0]) == next(layer_rows(profiled))
    profiled.write(tmp_path / "record.json")
    assert RunRecord.read(tmp_path).layers == profiled.layers


def test_a_layer_without_macs_must_say_why_and_belongs_to_a_model_of_the_record(make_record):
    with pytest.raises(ValueError, match="neither MACs nor a reason"):
        layer(0, macs=None)
    with pytest.raises(ValueError, match="without a card"):
        make_record(layers=[layer(0, model="stranger")])
