"""The script that validates energies on a real board, run whole against the stub of the driver."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.machine.system_files import is_tegra

ROOT = Path(__file__).resolve().parents[2]
WATTS = 150.0

pytestmark = [pytest.mark.serial, pytest.mark.skipif(is_tegra(), reason="on a Jetson no source asks NVML")]


# Few windows and lengths of them.
SCRIPT = """
import sys
from benchmarks.energy import validate
validate._IDLE_WINDOWS, validate._MINUTE_WINDOWS = 2, 4
validate._LENGTHS_S = (0.1, 1.0, 10.0)
sys.exit(validate.main())
"""


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, "--provider", "cpu", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_every_question_is_answered(stub_nvml, tiny, tmp_path):
    (tmp_path / "models").mkdir()
    tiny("resnet20").rename(tmp_path / "models/resnet20.onnx")  # the script exports only what is missing
    ended = run(
        *("--part", "gpu", "--nets", "resnet20", "--batch", "2", "--scale", "0.01"),
        *("--folder", str(tmp_path), "--results", str(tmp_path / "results")),
        LD_LIBRARY_PATH=str(stub_nvml),
        STUB_NVML_WATTS=str(WATTS),
    )
    assert ended.returncode == 0, ended.stderr
    (result,) = json.loads((tmp_path / "results/validation-gpu.json").read_text())["models"]
    assert result["minute"]["asked_w"] == pytest.approx(WATTS, rel=0.001)
    by_source = result["minute"]["by_source"]
    assert list(by_source) == [f"{name}, gpu0.board" for name in ("nvml", "nvml-power", "nvml-mean-power")]
    assert by_source["nvml-power, gpu0.board"]["power_w"] == pytest.approx(WATTS, rel=0.1)  # the rate varies
    # Windows of a third of a second on a counter of 20 ms: each edge is seen late by a part of that.
    assert by_source["nvml, gpu0.board"]["power_w"] == pytest.approx(WATTS, rel=0.25)
    assert [length["length_s"] for length in result["lengths"]] == [0.1, 1.0, 10.0]
    assert [power for window in result["idle_w"] for power in window] == [pytest.approx(WATTS, rel=0.25)] * 6
    assert "Are the joules right?" in (tmp_path / "results/README.md").read_text()


def test_without_a_meter_there_is_nothing_to_validate(tmp_path):
    ended = run("--results", str(tmp_path), KDBENCH_POWERCAP=str(tmp_path))
    assert ended.returncode == 2
    assert "nothing to validate" in ended.stderr
    assert list(tmp_path.iterdir()) == []
