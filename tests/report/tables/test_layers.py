"""The table of layers and its file: the leading ones, the rest as one row, sums that add up."""

import csv
import io

import pytest

from kdbench import report
from kdbench.report.render.tabular import layers_csv
from kdbench.report.tables import build_tables as tables
from kdbench.report.tables.latency import LEADING, time_by_operator, where_the_time_goes
from kdbench.results.records import Layer, RunRecord

AXES = {"provider": "cpu", "threads": 1, "batch": 1}


def layer(number, macs=100, model="teacher", total=1000.0, **more):
    time_ns = 10.0 * (number + 1)
    values = {"operator": "Conv", "macs": macs, "time_ns": time_ns, "time_share": time_ns / total, "axes": AXES}
    return Layer(model=model, name=f"layer{number}", **{**values, **more})


@pytest.fixture
def profiled(make_record):
    return make_record(layers=[layer(number) for number in range(LEADING + 3)])


def test_the_slowest_layers_lead_and_the_rest_are_one_row(profiled):
    table = where_the_time_goes(profiled)
    assert [row.cells[1].text for row in table.rows] == [*(f"layer{n}" for n in range(10, 2, -1)), "3 others"]
    rest = [cell.text for cell in table.rows[-1].cells[3:]]
    assert rest == ["60.0 ns", "6.00 %", "300", "27.27 %"]
    assert sum(row.cells[6].value for row in table.rows) == pytest.approx(1)
    assert "batch 1, 1 thread, cpu provider" in table.notes[0]


def test_note_lists_all_profiled_axes(make_record):
    fixed = layer(2, model="student-kd", axes={**AXES, "batch": 7})
    table = where_the_time_goes(make_record(layers=[layer(0), fixed]))
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
    lost = layer(9, macs=None, reason="Conv could not be traced to a layer of the file")
    table = where_the_time_goes(make_record(layers=[layer(0), lost]))
    (first, second) = [row.cells for row in table.rows]
    assert (first[5].value, first[5].reason) == (None, "Conv could not be traced to a layer of the file")
    assert (second[5].value, second[6].value, second[6].reason) == (100, None, "the total is not known")


def test_a_report_without_a_profile_has_neither_table_nor_file(sample, tmp_path):
    assert "Where the time goes" not in {table.title for table in tables(sample)}
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
    assert paths["layers.csv"] == layers_csv(profiled)
    profiled.write(tmp_path / "record.json")
    assert RunRecord.read(tmp_path).layers == profiled.layers


def test_a_layer_without_macs_must_say_why_and_belongs_to_a_model_of_the_record(make_record):
    with pytest.raises(ValueError, match="neither MACs nor a reason"):
        layer(0, macs=None)
    with pytest.raises(ValueError, match="without a card"):
        make_record(layers=[layer(0, model="stranger")])
