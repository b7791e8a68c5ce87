"""The bundle on another architecture: emulated, so its answers and the way back count, and never a time."""

import compileall
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from kdbench.workflows.bundle import bundle
from kdbench.workflows.merge import merge

# Read before the tests' environment is emptied. tests/tools/aarch64_root.sh makes the folder.
_ROOT = os.environ.get("KDBENCH_AARCH64_ROOT", "")
_LIMIT_S = 900


@pytest.fixture(scope="session")  # as `made_run`, so that a skip comes before it
def emulated() -> Path:
    """An aarch64 Python with numpy and onnxruntime that this machine emulates."""
    python = Path(_ROOT) / "python"
    if not _ROOT or not python.is_file():
        pytest.skip("KDBENCH_AARCH64_ROOT names no folder that tests/tools/aarch64_root.sh made: tox -e aarch64")
    probe = [python, "-c", "import platform; print(platform.machine())"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.stdout.strip() != "aarch64":
        pytest.skip(f"qemu does not run it here: {(tried.stderr.strip().splitlines() or ['?'])[-1]}")
    return python


@pytest.fixture
def run(made_run, tmp_path) -> Path:
    """A copy of the run with a bundle of its own, as short as can be: every process imports numpy for seconds."""
    copy = Path(shutil.copytree(made_run / "run", tmp_path / "run"))
    bundle(copy, made_run / "here.toml", options={"budget_s": 1.0, "sessions": 2, "threads": (1,)})
    with zipfile.ZipFile(copy / "bundles" / "here.zip") as archive:
        archive.extractall(tmp_path / "bundle")
    compileall.compile_dir(tmp_path / "bundle", quiet=1)  # faster here than there
    return copy


@pytest.mark.slow
def test_a_bundle_runs_there_and_its_result_can_be_merged(emulated, run, tmp_path):
    command = [emulated, tmp_path / "bundle" / "run.py", "--out", tmp_path / "result.zip", "--work", tmp_path / "work"]
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "TMPDIR"}}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("as on the host") == 2

    record = merge(run, tmp_path / "result.zip", name="emulated").record
    (device,) = record.devices
    assert device.environment.host["machine"] == "aarch64"
    assert device.complete
    for model in ("big", "small"):
        assert record.find(model, "device_max_abs", device="emulated").value < 1e-4  # another processor's sums
        assert record.find(model, "latency_p50_ns", device="emulated", threads=1, batch=1).value > 0
