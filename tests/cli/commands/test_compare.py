import json
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from kdbench.recipe import InputOptions, Measure
from kdbench.results.comparisons import Comparison
from kdbench.results.records import Environment, RunRecord, measured


@pytest.fixture
def runs(tmp_path, record):
    """Write two runs that differ in the size of their model, by what is asked for."""

    def write(size: int, top1: float = 0.5) -> tuple[Path, Path]:
        for name, bytes_, share in (("base", 1000, 0.5), ("new", size, top1)):
            measurements = (measured("teacher", "size_bytes", bytes_), measured("teacher", "top1", share, n=100))
            (tmp_path / name).mkdir(exist_ok=True)
            record.model_copy(update={"measurements": measurements}).write(tmp_path / name / "record.json")
        return tmp_path / "base", tmp_path / "new"

    return write


@pytest.mark.parametrize(("size", "code", "word"), [(1000, 0, "SAME"), (900, 0, "IMPROVED"), (1100, 1, "REGRESSED")])
def test_the_exit_code_tells_the_outcome(run_cli, runs, size, code, word):
    ended = run_cli("compare", *runs(size))
    assert ended.code == code
    assert f"{word}: Of 2 values of 1 model" in ended.out
    assert "Model size" in ended.out
    assert not ended.err


def test_what_is_not_known_ends_with_two(run_cli, runs):
    ended = run_cli("compare", *runs(1000, top1=0.6))  # another share of the same file, without an interval
    assert ended.code == 2
    assert "? INCONCLUSIVE" in ended.out
    assert run_cli("compare", *runs(1000, top1=0.6), "--metric", "size_bytes").code == 0


def test_thresholds_and_models_are_heeded(run_cli, runs):
    base, new = runs(1100)
    assert run_cli("compare", base, new, "--threshold", "20%").code == 0
    assert run_cli("compare", base, new, "--threshold", "size_bytes=20%", "--threshold", "5%").code == 0
    assert run_cli("compare", base, new, "--model", "teacher=teacher").code == 1
    ended = run_cli("compare", base, new, "--model", "studnt")
    assert ended.code == 3
    assert "the base has no model 'studnt'" in ended.err


def test_json_is_the_comparison(run_cli, runs):
    ended = run_cli("compare", *runs(1100), "--json")
    assert ended.code == 1
    comparison = Comparison.model_validate(ended.json)
    assert [(row.metric, row.outcome) for row in comparison.rows] == [("top1", "same"), ("size_bytes", "regressed")]


def test_markdown_and_junit_are_written(run_cli, runs, tmp_path):
    comment, cases = tmp_path / "comment.md", tmp_path / "junit.xml"
    ended = run_cli("compare", *runs(1100), "--markdown", comment, "--junit", cases)
    assert ended.code == 1
    assert comment.read_text().startswith("### ✗ kdbench: regressed")
    assert ET.parse(cases).find("testsuite").get("failures") == "1"


def test_what_is_written_has_a_folder_made_for_it_before_anything_is_compared(run_cli, runs, tmp_path):
    comment = tmp_path / "deep" / "er" / "comment.md"
    assert run_cli("compare", *runs(1000), "--markdown", comment).code == 0
    assert comment.exists()
    in_a_file = comment / "junit.xml"
    ended = run_cli("compare", tmp_path / "no", tmp_path / "run", "--junit", in_a_file)
    assert ended.code == 3
    assert "cannot be written" in ended.err
    assert "hint: choose another folder with --junit\n" in ended.err


@pytest.mark.parametrize("option", ["--markdown", "--junit"])
def test_a_folder_is_no_file_to_write(run_cli, runs, option):
    for name in ("", "."):  # a variable of CI that is not set, and a folder
        ended = run_cli("compare", *runs(1000), option, name)
        assert ended.code == 3
        assert f"{option}: '.' is a folder" in ended.err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", "an array"], ids=["empty", "cut short", "an array"])
def test_samples_that_are_no_archive_are_named(run_cli, runs, content):
    base, new = runs(1000)
    with (new / "samples.npz").open("wb") as stream:
        np.save(stream, np.arange(5)) if isinstance(content, str) else stream.write(content)
    ended = run_cli("compare", base, new)
    assert ended.code == 3
    assert "samples.npz is not a readable archive of samples" in ended.err


def test_markdown_alone_goes_to_standard_output(run_cli, runs):
    ended = run_cli("compare", *runs(1100), "--markdown", "-")
    assert ended.out.startswith("### ✗ kdbench: regressed")
    assert ended.out.endswith("</details>\n")
    assert run_cli("compare", *runs(1100), "--markdown", "-", "--json").code == 3


def test_a_record_of_another_machine_is_told(run_cli, runs, record):
    base, new = runs(1000)
    elsewhere = RunRecord.read(new)
    host = Environment(host={"cpu": "Other CPU"}, libraries={})
    elsewhere.model_copy(update={"environment": host}).write(new / "record.json")
    ended = run_cli("compare", base, new)
    assert ended.code == 0  # sizes and accuracies do not depend on it
    assert "Another machine: " in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "3s"], "--budget needs --remeasure"),
        (["--data", "digits"], "--data needs --remeasure"),
        (["--no-accuracy"], "--no-accuracy needs --remeasure"),
        (["--out", "x"], "--out needs --remeasure"),
        (["--metric", "tpo1"], "unknown metric 'tpo1'"),
        (["--threshold", "5"], "is not a percentage"),
        (["--threshold", "parameters=5%"], "parameters is not compared"),
        (["--metric", "top1", "--threshold", "macs=5%"], "macs is not compared"),
        (["--model", "teacher=a", "--model", "teacher=b"], "--model names 'teacher' twice"),
        (["--remeasure"], "has no folder models"),
    ],
)
def test_what_cannot_be_meant_is_refused(run_cli, runs, arguments, message):
    ended = run_cli("compare", *runs(1000), *arguments)
    assert ended.code == 3
    assert message in ended.err
    assert "hint: " in ended.err


def test_model_files_need_to_be_measured(run_cli, tmp_path):
    ended = run_cli("compare", tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert ended.code == 3
    assert "add --remeasure" in ended.err


@pytest.fixture
def remeasurement(monkeypatch):
    """A gate that measures nothing and notes what it was asked for."""
    fake = SimpleNamespace(calls=[])

    def remeasure(base, new, **options):
        fake.calls.append((base, new, options))
        values = {"base": "a", "new": "b", "created": "2025-01-01T00:00:00+00:00", "overall": "same", "rows": ()}
        return Comparison(**values, identical=("teacher",), remeasured=True), Path("runs/compare-1")

    fake.remeasure = remeasure
    monkeypatch.setitem(sys.modules, "kdbench.workflows.remeasure", fake)
    monkeypatch.setattr("kdbench.workflows.remeasure", fake, raising=False)
    return fake


def test_options_reach_the_measuring(run_cli, remeasurement):
    line = (
        "compare old new --remeasure --model a=b --metric top1 --threshold top1=1 --data cifar10 --data-root D "
        "--download --resize 36 --crop 32 --mean .5 --std .25 --scale 1 --output logits --provider cuda --threads 1,2 "
        "--batch 64 --cores 2-3 --budget 2m --precision 2% --sessions 3 --energy full --estimate-energy --out O"
    )
    ended = run_cli(*line.split())
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "report: runs/compare-1/report.md"
    ((base, new, options),) = remeasurement.calls
    assert (base, new) == (Path("old"), Path("new"))
    del options["progress"]
    assert options.pop("thresholds").by_metric == {"top1": 1.0}
    assert options == {
        "models": {"a": "b"},
        "metrics": ["top1"],
        "inputs": InputOptions(
            data="cifar10",
            data_root="D",
            download=True,
            resize=36,
            crop=32,
            mean=(0.5,),
            std=(0.25,),
            scale=1.0,
            output="logits",
        ),
        "options": Measure(
            provider="cuda",
            threads=(1, 2),
            batch=(64,),
            cores=(2, 3),
            budget_s=120.0,
            precision=0.02,
            sessions=3,
            energy="full",
            estimate_energy=True,
        ),
        "out": Path("O"),
        "command": f"kdbench {line}",
    }


def test_json_of_a_measurement_names_its_folder(run_cli, remeasurement):
    ended = run_cli("compare", "old", "new", "--remeasure", "--json", "-q")
    assert json.loads(ended.out)["folder"] == "runs/compare-1"
    assert not remeasurement.calls[0][2]["metrics"]
