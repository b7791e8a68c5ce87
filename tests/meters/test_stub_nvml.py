"""The bindings, kdbench's sources and codecarbon against a driver library that is loaded as NVIDIA's is.

All of it runs in processes of their own, since a process keeps the library that it has loaded. What was counted is
compared with the stub's power times what the counting process's clock passed meanwhile: however long that took.
"""

import json
import os
import subprocess
import sys

import pytest

from kdbench.machine.system_files import is_tegra

WATTS = 137.5
STEP_S = 0.02
NAMES = ["nvml", "nvml-power", "nvml-mean-power"]

pytestmark = [pytest.mark.serial, pytest.mark.skipif(is_tegra(), reason="on a Jetson no source asks NVML")]

# Reads each source until it has moved, with the time right before and right after a reading.
READ = """
import json, sys, time
from kdbench.meters.meter import METERS, Unavailable

def read(source):
    before = time.monotonic()
    at_ns, joules = source.read()
    return {"before": before, "at": at_ns / 1e9, "after": time.monotonic(), "joules": joules}

results = {}
for name in sys.argv[1:]:
    source = METERS.get(name)()
    state = source.available()
    if isinstance(state, Unavailable):
        results[name] = {"reason": state.reason}
        continue
    begin = end = read(source)
    limit = time.monotonic() + 30
    while end["joules"] <= begin["joules"] and time.monotonic() < limit:
        time.sleep(0.01)
        end = read(source)
    source.close()
    results[name] = {"detail": state.detail, "begin": begin, "end": end}
print(json.dumps(results))
"""

GAUGES = """
import json
from kdbench.machine.memory import DeviceMemory
from kdbench.machine.throttling import gpu_clocks

print(json.dumps({"memory": DeviceMemory().usage(), "throttling": gpu_clocks().read()}))
"""

CODECARBON = """
import json, time
from codecarbon import OfflineEmissionsTracker
from codecarbon.core.gpu import AllGPUDevices

(static,) = AllGPUDevices().get_gpu_static_info()
(details,) = AllGPUDevices().get_gpu_details()
tracker = OfflineEmissionsTracker(
    country_iso_code="FRA", output_methods=[], save_to_file=False, allow_multiple_runs=True, log_level="error"
)
begun = time.monotonic()
tracker.start()
started = time.monotonic()
time.sleep(0.1)
stopping = time.monotonic()
tracker.stop()
print(json.dumps({
    "model": tracker._conf["gpu_model"], "name": static["name"], "limit": static["power_limit"],
    "watts": details["power_usage"], "joules": tracker._total_gpu_energy.kWh * 3.6e6,
    "longest_s": time.monotonic() - begun, "shortest_s": stopping - started,
}))
"""


@pytest.fixture
def run(stub_nvml):
    """Run a script in a process that loads the stub; returns what it prints as JSON."""
    hidden = {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env |= {
        "LD_LIBRARY_PATH": str(stub_nvml),
        "PATH": f"{stub_nvml}{os.pathsep}{env['PATH']}",
        "STUB_NVML_WATTS": str(WATTS),
        "STUB_NVML_STEP_MS": str(STEP_S * 1e3),
    }

    def run(script, *arguments, **variables):
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, env=env | variables, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def reported(run):
    return run(READ, *NAMES)


def test_the_counter_counts_the_boards_power_to_within_a_step(reported):
    source = reported["nvml"]
    assert source["detail"] == "kdbench stub GPU: energy counter of the whole board"
    begin, end = source["begin"], source["end"]
    joules = end["joules"] - begin["joules"]
    # The counter was renewed at some moment of each reading, or up to a step before.
    assert joules >= WATTS * (end["before"] - begin["after"] - STEP_S) - 0.002
    assert joules <= WATTS * (end["after"] - begin["before"] + STEP_S) + 0.002
    for reading in (begin, end):
        assert reading["before"] <= reading["at"] <= reading["after"]


@pytest.mark.parametrize("name", ["nvml-power", "nvml-mean-power"])
def test_polled_power_counts_a_constant_power_exactly(reported, name):
    begin, end = (reported[name][edge] for edge in ("begin", "end"))
    assert (
        begin["joules"] < end["joules"] == pytest.approx(begin["joules"] + WATTS * (end["at"] - begin["at"]), rel=1e-6)
    )


def test_what_else_is_known_of_the_board(run):
    reported = run(GAUGES)
    assert reported["memory"] == [0, "NVML, growth of the board's used memory, other processes included"]
    assert reported["throttling"] == 0


def test_a_virtual_gpu(run):
    reasons = {name: source.get("reason") for name, source in run(READ, *NAMES, STUB_NVML_REFUSE="3").items()}
    assert reasons == {
        "nvml": "NVML: no energy counter",
        "nvml-power": "NVML: no power reading",
        "nvml-mean-power": "NVML: no power reading",
    }


def test_a_hidden_gpu_is_not_read(run):
    reasons = {source.get("reason") for source in run(READ, *NAMES, CUDA_VISIBLE_DEVICES="-1").values()}
    assert reasons == {"NVML: every GPU is hidden"}


def test_codecarbon_reads_the_same_board(run):
    pytest.importorskip("codecarbon")
    reported = run(CODECARBON)
    assert reported["model"] == "1 x kdbench stub GPU"
    assert (reported["name"], reported["limit"], reported["watts"]) == ("kdbench stub GPU", 700, WATTS)
    assert reported["joules"] >= WATTS * (reported["shortest_s"] - STEP_S) - 0.002
    assert reported["joules"] <= WATTS * (reported["longest_s"] + STEP_S) + 0.002
