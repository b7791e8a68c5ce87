"""What is written to disk, against golden files.

A change of the report that is meant is taken over with
`KDBENCH_UPDATE_GOLDEN=1 pytest tests/report/test_formats.py`; read the difference before committing it.
"""

import csv
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from kdbench import report
from kdbench.errors import InputError, StorageError
from kdbench.results.records import RunRecord

GOLDEN = Path(__file__).parent / "golden"
_UPDATE = bool(os.environ.get("KDBENCH_UPDATE_GOLDEN"))  # read here: tests do not see kdbench's variables


def check_golden(written: Path, name: str) -> None:
    golden = GOLDEN / name
    if _UPDATE:
        golden.write_bytes(written.read_bytes())
    assert written.read_text(encoding="utf-8") == golden.read_text(encoding="utf-8")


def bench(make_record, make_card) -> RunRecord:
    """Return a record of a model that was not trained here, with neither data nor a teacher."""
    card = make_card("student-kd", training=None, role="variant", parents=(), seed=None)
    known = [m for m in make_record().measurements if m.model == "student-kd" and m.metric.startswith("latency")]
    return make_record(
        kind="bench", name="bench", title="", recipe=None, models=[card], measurements=known, pairs=(), warnings=()
    )


@pytest.mark.parametrize("which", ["sample", "seeded", "metered"])
def test_markdown_and_csv_are_as_they_were(which: str, request, tmp_path) -> None:
    record = request.getfixturevalue(which)
    report.write(record, tmp_path, ["md", "csv"])
    check_golden(tmp_path / "report.md", f"{which}.md")
    check_golden(tmp_path / "report.csv", f"{which}.csv")


def test_the_report_of_a_foreign_model_is_as_it_was(make_record, make_card, tmp_path) -> None:
    paths = report.write(bench(make_record, make_card), tmp_path)
    assert paths == [tmp_path / "report.md"]  # without accuracy, ratios and curves there is nothing to draw
    check_golden(tmp_path / "report.md", "bench.md")


def test_every_path_is_returned_and_every_picture_of_the_report_is_there(sample, tmp_path) -> None:
    paths = report.write(sample, tmp_path / "new" / "folder", ["md", "csv", "json"])
    assert {path.name for path in paths} == {
        "report.md",
        "accuracy_latency.svg",
        "accuracy_size.svg",
        "speedup.svg",
        "training_curves.svg",
        "report.csv",
        "report.json",
    }
    text = paths[0].read_text(encoding="utf-8")
    for picture in paths[1:5]:
        assert f"](figures/{picture.name})" in text
        assert ET.parse(picture).getroot().tag.endswith("svg")
    assert not list(tmp_path.rglob(".*.part"))


@pytest.mark.usefixtures("drawn_anew")
def test_figures_are_deterministic(sample, tmp_path) -> None:
    first, second = (report.write(sample, tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_csv_has_one_row_per_result_and_all_digits(sample, tmp_path) -> None:
    (path,) = report.write(sample, tmp_path, ["csv"])
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    findings = [*sample.measurements, *sample.pairs]
    assert len(rows) == len(findings)
    for row, finding in zip(rows, findings, strict=True):
        assert row["metric"] == finding.metric
        assert (float(row["value"]) if row["value"] else None) == finding.value
        assert row["reason"] == (finding.reason or "")
        assert row["batch"] == str(finding.axes.get("batch", ""))


def test_csv_has_evidence_source_and_interval_of_energies(metered_gpu, estimated, tmp_path) -> None:
    rows_by_run = {}
    for record, folder in ((metered_gpu, tmp_path / "a"), (estimated, tmp_path / "b")):
        (path,) = report.write(record, folder, ["csv"])
        with path.open(encoding="utf-8", newline="") as stream:
            rows_by_run[folder.name] = [row for row in csv.DictReader(stream) if row["model"] == "student-alone"]
    scoped = [row for row in rows_by_run["a"] if row["metric"] == "energy_j" and row["batch"] == "1"]
    assert [row["scope"] for row in scoped] == ["", "cpu.package", "gpu0.board + cpu.package"]
    assert all(float(row["low"]) < float(row["value"]) < float(row["high"]) for row in scoped)
    assert [row["source"] for row in scoped][:2] == ["nvml, gpu0.board", "rapl, cpu.package"]
    energies = {
        (row["metric"], row["evidence"], row["low"]) for row in rows_by_run["b"] if row["metric"].startswith("energy_")
    }
    assert energies == {(m, "estimated", "") for m in ("energy_j", "energy_net_j", "energy_run_j", "energy_ratio")}


def test_csv_of_an_empty_record_has_its_columns(make_record, tmp_path) -> None:
    (path,) = report.write(make_record(measurements=(), pairs=()), tmp_path, ["csv"])
    assert path.read_text(encoding="utf-8").startswith("run,model,name,role,seed,teacher,metric,provider,threads,batch")


def test_additional_axis_is_a_column(make_record, sample, tmp_path) -> None:
    odd = sample.measurements[0].model_copy(update={"axes": {"mode": "paced"}})
    (path,) = report.write(make_record(measurements=[odd], pairs=()), tmp_path, ["csv"])
    assert ",batch,mode,value," in path.read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("which", ["sample", "metered_gpu", "estimated"])
def test_json_is_the_record(which: str, request, tmp_path) -> None:
    record = request.getfixturevalue(which)
    (path,) = report.write(record, tmp_path, ["json"])
    assert RunRecord.read(path) == record
    assert json.loads(path.read_text(encoding="utf-8"))["schema"] == 1


def test_an_unknown_format_is_refused_before_anything_is_written(sample, tmp_path) -> None:
    with pytest.raises(InputError, match="report format") as raised:
        report.write(sample, tmp_path / "out", ["md", "cvs"])
    assert "csv" in raised.value.hint
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_a_storage_error(sample, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        report.write(sample, tmp_path / "file" / "folder")


def test_a_report_is_rendered_without_torch_onnx_or_a_window(sample, tmp_path) -> None:
    sample.write(tmp_path / "record.json")
    program = (
        "import sys; from pathlib import Path; from kdbench import report\n"
        "from kdbench.results.records import RunRecord\n"
        "from kdbench.report.render.terminal import summary; from rich.console import Console\n"
        f"record = RunRecord.read(Path({str(tmp_path)!r}))\n"
        f"report.write(record, Path({str(tmp_path)!r}), ['md', 'html', 'csv', 'json'])\n"
        "Console().print(summary(record))\n"
        "heavy = {'torch', 'torchvision', 'lightning_fabric', 'onnx', 'onnxruntime', 'sklearn', 'matplotlib.pyplot'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


def test_the_package_itself_is_light() -> None:
    program = "import sys, kdbench.report; assert not {'matplotlib', 'jinja2', 'scipy', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
