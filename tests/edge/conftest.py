"""A tiny run with a bundle and a result from this machine, made once for all tests of this folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from model_files import _build

from kdbench.measure.passes import cold_start, memory
from kdbench.recipe import InputOptions, Measure
from kdbench.workflows.bench import bench_models
from kdbench.workflows.bundle import bundle

TARGET = """
name = "here"
[device]
machine = "."
provider = "cpu"
[[criterion]]
metric = "latency_p50_ns"
max = "10 s"
[[criterion]]
metric = "peak_memory_bytes"
max = "10 GB"
[[criterion]]
metric = "top1"
min = "1 %"
"""
_BUDGET_S = 0.2


@pytest.fixture(scope="session")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two tiny models on labelled images; it has no times, so that only a device can have some."""
    folder = tmp_path_factory.mktemp("edge")
    big, small = (_build(folder / f"{n}.onnx", shape=(1, 4, 6), seed=s) for s, n in enumerate(("big", "small")))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 4, 6), dtype=np.uint8)
    np.savez(folder / "set.npz", x_test=images, y_test=np.arange(40) % 6)
    inputs = InputOptions(data=f"npz:{folder / 'set.npz'}")
    command = f"kdbench bench {big} {small}"
    bench_models([big, small], inputs=inputs, options=Measure(times=False), out=folder / "run", command=command)
    (folder / "here.toml").write_text(TARGET)
    with pytest.MonkeyPatch.context() as patch:  # one process each: medians are tested elsewhere
        patch.setattr(cold_start, "PROCESSES", 1)
        patch.setattr(memory, "PROCESSES", 1)
        bundle(folder / "run", folder / "here.toml", options={"budget_s": _BUDGET_S, "sessions": 2, "threads": (1,)})
    return folder


@pytest.fixture(scope="session")
def measured(made_run: Path) -> Path:
    """The folder of the run with the bundle unpacked, and its result from this machine beside it."""
    with zipfile.ZipFile(made_run / "run" / "bundles" / "here.zip") as archive:
        archive.extractall(made_run / "bundle")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "run.py"]
    ended = subprocess.run(
        command, cwd=made_run / "bundle", env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    return made_run


@pytest.fixture
def run(measured: Path, tmp_path: Path) -> Path:
    """A copy of the run for one test to change."""
    return Path(shutil.copytree(measured / "run", tmp_path / "run"))


@pytest.fixture
def result(measured: Path) -> Path:
    """The result of the bundle."""
    return measured / "bundle" / "result.zip"
