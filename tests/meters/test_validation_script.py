"""The script that validates energies on a real board, run whole against a fake board, in the board's own time."""

import json
import sys

import pytest

from benchmarks.energy import validate
from kdbench.machine.system_files import is_tegra
from kdbench.meters.nvml import Nvml, NvmlMeanPower, NvmlPower

WATTS = 150.0
CALL_S = 0.004
LOOK_S = 0.0001  # at the clock

pytestmark = pytest.mark.skipif(is_tegra(), reason="on a Jetson no source asks NVML")


@pytest.fixture
def main(monkeypatch):
    """Run the script with these arguments; returns its exit code."""

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["validate", "--provider", "cpu", *map(str, arguments)])
        return validate.main()

    return main


@pytest.fixture
def board(fake_nvml, monkeypatch, tmp_path):
    """Return a board of 150 W whose three sources the script finds; a call takes 4 ms on their clock."""
    fake_clock = fake_nvml.clock
    pause = fake_clock.sleep

    def clock():
        pause(LOOK_S)  # so that waiting for a counter to move ends
        return fake_clock()

    polled = (kind(clock, pause, root=tmp_path, background=False) for kind in (NvmlPower, NvmlMeanPower))
    counters = [Nvml(clock, pause, root=tmp_path), *polled]
    monkeypatch.setattr(validate, "usable", lambda _: [(counter, "a fake") for counter in counters])
    real_call_of, real_validated = validate.call_of, validate.validated

    def call_of(net, args):
        real_call_of(net, args)()  # the model is loaded, bound and runs
        return lambda: pause(CALL_S)

    monkeypatch.setattr(validate, "call_of", call_of)
    monkeypatch.setattr(validate, "validated", lambda *arguments: real_validated(*arguments, clock, pause))
    fake_nvml.board.trace = [(0.0, WATTS)]
    fake_nvml.board.update_s = 0.02
    return fake_nvml.board


def test_every_question_is_answered(main, board, tiny, tmp_path):
    (tmp_path / "models").mkdir()
    tiny("resnet20").rename(tmp_path / "models/resnet20.onnx")  # the script exports only what is missing
    results = tmp_path / "results"
    options = ("--nets", "resnet20", "--batch", 2, "--scale", 0.1, "--folder", tmp_path, "--results", results)
    assert main("--part", "gpu", *options) == 0
    (result,) = json.loads((results / "validation-gpu.json").read_text())["models"]
    minute = result["minute"]
    assert minute["asked_w"] == pytest.approx(WATTS)
    assert minute["rate_per_s"] == pytest.approx(2 / (CALL_S + LOOK_S), rel=0.01)
    # Windows of a second on a counter of 20 ms: each edge is seen up to one call late.
    by_source = {source: answer["power_w"] for source, answer in minute["by_source"].items()}
    names = [f"{name}, gpu0.board" for name in ("nvml", "nvml-power", "nvml-mean-power")]
    assert by_source == {name: pytest.approx(WATTS, rel=0.01) for name in names}
    energies_j = [answer["energy_j"] for answer in minute["by_source"].values()]
    assert energies_j == [pytest.approx(WATTS * (CALL_S + LOOK_S) / 2, rel=0.01)] * 3
    assert [power for window in result["idle_w"] for power in window] == [pytest.approx(WATTS, rel=0.05)] * 15
    lengths = result["lengths"]
    assert [length["length_s"] for length in lengths] == [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
    assert [length["taken_s"] for length in lengths[3:]] == pytest.approx(
        [0.1, 0.2, 0.5, 1.0], abs=0.03
    )  # a step and two calls longer
    assert lengths[-1]["off"] < 0.01
    assert "Are the joules right?" in (results / "README.md").read_text()


def test_without_a_meter_there_is_nothing_to_validate(main, no_nvml, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KDBENCH_POWERCAP", str(tmp_path))
    assert main("--results", tmp_path) == 2
    assert "nothing to validate" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
