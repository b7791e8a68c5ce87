"""Gauges of throttling over a machine that is a folder."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdbench.machine import throttling
from kdbench.machine.throttling import (
    board_flags,
    clock,
    clock_limit,
    cooling,
    gauges,
    gpu_clocks,
    quota_stops,
    thermal_counters,
)

CPU = "sys/devices/system/cpu"


@pytest.fixture
def machine(tmp_path):
    """Write files of the system's and return its root."""

    def write(files: dict[str, object]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return write


def description(gauge, change):
    before = gauge.read()
    change()
    return gauge.describe(before, gauge.read())


def test_thermal_counters_that_rise(machine):
    names = [f"{CPU}/cpu{n}/thermal_throttle/{what}_throttle_count" for n in (0, 1) for what in ("core", "package")]
    gauge = thermal_counters(machine(dict.fromkeys(names, 5)))
    assert gauge.read() == 20
    assert description(gauge, lambda: None) == ""
    counted = "cores counted 3 times that they throttled because of heat"
    assert description(gauge, lambda: machine({names[0]: 8})) == counted


def test_cooling_devices_of_the_processor_alone(machine):
    thermal = "sys/class/thermal/cooling_device"
    gauge = cooling(
        machine(
            {
                f"{thermal}0/type": "Processor",
                f"{thermal}0/cur_state": 0,
                f"{thermal}1/type": "pwm-fan",
                f"{thermal}1/cur_state": 3,
                f"{thermal}2/type": "intel_powerclamp",
                f"{thermal}2/cur_state": -1,
            }
        )
    )
    assert description(gauge, lambda: None) == ""
    assert "to cool it" in description(gauge, lambda: machine({f"{thermal}0/cur_state": 2}))


def test_a_clock_limit_that_falls(machine):
    limits = {f"{CPU}/cpu{n}/cpufreq/scaling_max_freq": 2_400_000 for n in range(4)}
    gauge = clock_limit(machine(limits))
    assert description(gauge, lambda: None) == ""
    lowered = {f"{CPU}/cpu3/cpufreq/scaling_max_freq": 1_500_000}
    assert description(gauge, lambda: machine(lowered)) == "the clock's limit fell from 2400 to 1500 MHz"


@pytest.mark.parametrize(("after", "expected"), [(2_170_000, ""), (2_150_000, "the clock fell from 2400 to 2150 MHz")])
def test_a_clock_that_falls(machine, after, expected):
    steady = {f"{CPU}/cpu0/cpufreq/scaling_governor": "performance"}
    gauge = clock(machine({**steady, f"{CPU}/cpu0/cpufreq/scaling_cur_freq": 2_400_000}))
    assert description(gauge, lambda: machine({f"{CPU}/cpu0/cpufreq/scaling_cur_freq": after})) == expected


def test_under_another_governor_a_clock_may_fall(machine):
    root = machine(
        {f"{CPU}/cpu0/cpufreq/scaling_governor": "schedutil", f"{CPU}/cpu0/cpufreq/scaling_cur_freq": 2_400_000}
    )
    assert clock(root).read() is None


@pytest.mark.parametrize(
    ("groups", "stat", "before", "after"),
    [
        (
            "0::/",
            "sys/fs/cgroup/cpu.stat",
            "nr_throttled 2\nthrottled_usec 3000",
            "nr_throttled 9\nthrottled_usec 45000",
        ),
        ("0::/a/b", "sys/fs/cgroup/a/cpu.stat", "throttled_usec 0", "throttled_usec 42000"),
        ("4:cpu,cpuacct:/x", "sys/fs/cgroup/cpu/x/cpu.stat", "throttled_time 7", "throttled_time 42000007"),
        ("4:cpu,cpuacct:/x", "sys/fs/cgroup/cpu/cpu.stat", "throttled_time 7", "throttled_time 42000007"),
    ],
    ids=["version 2", "a group around", "version 1", "version 1 in a container"],
)
def test_a_quota_that_stops_processes(machine, groups, stat, before, after):
    gauge = quota_stops(machine({"proc/self/cgroup": f"2:memory:/m\n{groups}", stat: before}))
    assert description(gauge, lambda: None) == ""
    assert description(gauge, lambda: machine({stat: after})) == "the CPU quota stopped it for 42 ms"
    assert "CPU limit" in gauge.remedy


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0x0, 0x0, ""),
        (0x50000, 0x50000, ""),  # long ago
        (0x0, 0x50005, "the board reports under-voltage, throttled"),
        (0x0, 0x80000, "the board reports soft temperature limit"),  # came and went
    ],
)
def test_a_board_that_is_hot_or_short_of_power(monkeypatch, before, after, expected):
    flags = iter([before, after])
    monkeypatch.setattr(throttling.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        throttling.subprocess, "run", lambda command, **_: SimpleNamespace(stdout=f"throttled={next(flags):#x}\n")
    )
    assert description(board_flags(), lambda: None) == expected


def fails(*_, **__):
    raise subprocess.CalledProcessError(255, "vcgencmd")


def test_a_board_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(throttling.shutil, "which", lambda _: None)
    assert board_flags().read() is None
    monkeypatch.setattr(throttling.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(throttling.subprocess, "run", fails)
    assert board_flags().read() is None


def nvml(reasons):
    """Return what stands for the module pynvml where the driver tells `reasons` in turn; with None, none answers."""

    class NVMLError(Exception):
        pass

    def init() -> None:
        if reasons is None:
            raise NVMLError

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetCurrentClocksEventReasons=lambda _: next(reasons),
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0x1, 0x0, ""),  # idle before
        (0x0, 0x2, ""),  # clocks that a person has set
        (0x1, 0x24, "the GPU was slowed down: power cap, thermal slowdown"),
    ],
)
def test_a_gpu_below_its_clocks(monkeypatch, before, after, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", nvml(iter([before, after])))
    assert description(gpu_clocks(), lambda: None) == expected


def test_a_gpu_without_a_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(None))
    assert gpu_clocks().read() is None


def test_a_machine_without_gauges_tells_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(throttling.shutil, "which", lambda _: None)
    assert {gauge.read() for gauge in gauges(tmp_path)} == {None}


def test_a_gpu_is_looked_at_where_it_is_measured(tmp_path):
    assert [g.title for g in gauges(tmp_path, "cuda")] == [*(g.title for g in gauges(tmp_path)), "GPU clocks"]
