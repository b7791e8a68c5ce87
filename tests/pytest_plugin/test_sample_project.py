"""The sample project from end to end, in processes of its own: models made, measured and judged."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from kdbench.results.records import RunRecord

SAMPLE = Path(__file__).parents[1] / "sample_project"
REPOSITORY = SAMPLE.parents[1]
INSTALLED = bool(list(entry_points(group="pytest11", name="kdbench")))
TIMED = ("-k", "latency or faster or strict")  # the others run in the test of several workers
SHORT = ("--benchmark", "--kdbench-budget=1s", "--kdbench-sessions=2")
TOO_STRICT = """
def test_too_strict(kdbench):
    kdbench.model("models/student.onnx", data="npz:data/test.npz").size_bytes.at_most("500 B")
"""

# As the fixture `_one_process`, in the project's own processes.
ONE_PROCESS = """
import sys
from pathlib import Path

from kdbench.measure.passes import cold_start, memory

cold_start.PROCESSES = memory.PROCESSES = 1


def pytest_unconfigure():
    Path("loads-torch").write_text(str("torch" in sys.modules))
"""

# A busy machine may leave their numbers unstable, and then they fail: nothing here depends on that.
OF_THE_MACHINE = {"test_latency", "test_faster_than_the_teacher"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a copy of the sample project with its models made."""
    folder = tmp_path_factory.mktemp("sample") / "project"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "models", "data", ".*"))
    subprocess.run([sys.executable, folder / "make_models.py"], check=True)
    (folder / "conftest.py").write_text(ONE_PROCESS)
    return folder


def tested(project, *arguments, **variables):
    """Run pytest in the project as its user would; returns the process that has ended."""
    plugin = () if INSTALLED else ("-p", "kdbench.pytest_plugin")
    outer = ("PYTEST_XDIST_", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "GITHUB_STEP_SUMMARY", "KDBENCH_DATA")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    if not INSTALLED:
        environment["PYTHONPATH"] = str(REPOSITORY)
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, "-p", "no:cacheprovider", *arguments],
        cwd=project, env={**environment, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def failed(cases):
    return {case.get("name") for case in cases if case.find("failure") is not None}


def test_without_the_flag_it_is_a_smoke_test(project):
    ended = tested(project)
    assert ended.returncode == 0, ended.stdout
    assert "kdbench: 7 bounds not judged; pytest --benchmark judges them" in ended.stdout
    assert not (project / ".benchmarks" / "kdbench").exists()


def test_with_it_the_bounds_are_judged(project, tmp_path):
    strict = project / "tests" / "test_too_strict.py"
    strict.write_text(TOO_STRICT)
    outputs = (f"--benchmark-json={tmp_path / 'out.json'}", f"--junitxml={tmp_path / 'out.xml'}")
    try:
        ended = tested(project, *SHORT, *TIMED, *outputs, f"--kdbench-out={tmp_path / 'kept'}")
    finally:
        strict.unlink()
    assert ended.returncode == 1, ended.stdout
    assert "student.onnx: size_bytes is 1.23 kB; required: at most 500 B: FAIL" in ended.stdout
    assert "4 deselected" in ended.stdout
    assert (project / "loads-torch").read_text() == "False"  # which takes seconds, and ONNX files do not need it

    entries = {entry["name"]: entry for entry in json.loads((tmp_path / "out.json").read_text())["benchmarks"]}
    assert sorted(entries) == ["test_faster_than_the_teacher", "test_latency"]
    p50, *_ = entries["test_latency"]["extra_info"]["kdbench"]["bounds"]
    (kept,) = (tmp_path / "kept").glob("*/student-*/record.json")
    assert p50["value"] == RunRecord.read(kept).find("student", "latency_p50_ns", **p50["axes"]).value
    ns = np.load(kept.with_name("samples.npz"))["student/cpu-t1-b1/ns"]
    low, high = np.quantile(ns, [0.498, 0.502])  # a thousand of the calls, at equal steps of rank
    assert low <= entries["test_latency"]["stats"]["median"] * 1e9 <= high

    cases = ET.parse(tmp_path / "out.xml").findall(".//testcase")
    assert failed(cases) - OF_THE_MACHINE == {"test_too_strict"}
    (timed,) = (tmp_path / "kept").glob("*/teacher-student-*/record.json")
    assert (timed.parent / "report.md").exists()
    assert RunRecord.read(timed).find_pair("student", "latency_ratio").value > 1


@pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")
def test_workers_take_turns_and_share_what_was_measured(project, tmp_path):
    step = tmp_path / "step.md"
    arguments = ("-n", "2", f"--junitxml={tmp_path / 'out.xml'}", f"--kdbench-out={tmp_path / 'kept'}")
    ended = tested(project, *SHORT, *arguments, GITHUB_STEP_SUMMARY=str(step))
    document = ET.parse(tmp_path / "out.xml")
    cases = document.findall(".//testcase")
    assert len(cases) == 5, ended.stdout
    assert not failed(cases) - OF_THE_MACHINE, ended.stdout
    checks = [json.loads(it.get("value")) for it in document.iter("property") if it.get("name") == "kdbench"]
    assert {check["test"].partition("::")[2] for check in checks} == {case.get("name") for case in cases}
    assert {check["what"] for check in checks} >= {"top1", "size_bytes", "macs", "top1_drop"}
    assert step.read_text().startswith("### kdbench: ")
    assert step.read_text().count("`tests/test_student.py::test_footprint`") == 2
    (session,) = (tmp_path / "kept").iterdir()
    records = sorted(session.glob("*/record.json"))
    drops = [RunRecord.read(path).find_pair("student", "top1_drop") for path in records]
    assert [drop.value for drop in drops if drop is not None and drop.value is not None] == [0]
    kept = [path.parent.name.rpartition("-")[0] for path in records]
    assert kept.count("teacher-student") <= 2  # on noise for the ratio, on data for the drop
    assert kept.count("student") <= 2  # its files' own numbers, and its times
