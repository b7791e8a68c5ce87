"""Counters of the system's, before and after, in; how a session went, out."""

import os
import time
from pathlib import Path

import pytest

from kdbench.machine import system_monitor
from kdbench.machine.system_monitor import Conditions, Counters, SystemMonitor, ThrottlingEvent

TICKS = os.sysconf("SC_CLK_TCK")


def reading(at_s, process_s, busy_s, stolen_s=None, swapped=0, gauges=()):
    cores = dict(enumerate(busy_s))
    return Counters(at_s, process_s, cores, dict(enumerate(stolen_s or [0.0] * len(busy_s))), swapped, tuple(gauges))


@pytest.fixture
def gaugeless(monkeypatch):
    monkeypatch.setattr(system_monitor, "gauges", lambda *_: ())


@pytest.fixture
def smt(tmp_path):
    """Return the root of a machine of two physical cores with two hardware threads each: 0 and 2, 1 and 3."""
    for core in range(4):
        path = tmp_path / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(f"{core % 2},{core % 2 + 2}\n")
    return tmp_path


@pytest.mark.usefixtures("gaugeless")
def test_the_work_of_others_is_what_is_not_ours(tmp_path):
    before, after = reading(100, 50, [10, 10, 10, 10]), reading(110, 61, [11, 13, 12, 20])
    conditions = SystemMonitor(tmp_path, cores=[3]).between(before, after)
    assert conditions.seconds == 10
    assert conditions.cores == 4
    assert conditions.others_cores == pytest.approx(0.5)
    assert conditions.others_chosen_cores == 0  # ticks are coarse, less than nothing is nothing
    assert conditions.siblings_cores is None  # nobody tells


@pytest.mark.usefixtures("gaugeless")
def test_others_on_our_cores_and_beside_them(smt):
    before, after = reading(0, 0, [0, 0, 0, 0]), reading(10, 8, [1, 3, 2, 9])
    conditions = SystemMonitor(smt, cores=[3]).between(before, after)
    assert conditions.others_chosen_cores == pytest.approx(0.1)
    assert conditions.siblings_cores == pytest.approx(0.3)  # of core 1
    both = SystemMonitor(smt, cores=[1, 3]).between(before, after)
    assert both.others_chosen_cores == pytest.approx(0.4)
    assert both.siblings_cores == 0


@pytest.mark.usefixtures("gaugeless")
def test_without_pinning_nobody_is_beside(smt):
    conditions = SystemMonitor(smt).between(reading(0, 0, [0] * 4), reading(10, 8, [1, 3, 2, 9]))
    assert (conditions.others_chosen_cores, conditions.siblings_cores) == (None, None)


@pytest.mark.usefixtures("gaugeless")
def test_stolen_time_is_a_share_of_what_cores_would_have_run(tmp_path):
    before, after = reading(0, 0, [5, 5], [1, 1]), reading(10, 9, [14, 5], [1.5, 1.5])
    assert SystemMonitor(tmp_path).between(before, after).stolen_share == pytest.approx(0.1)


@pytest.mark.usefixtures("gaugeless")
def test_pages_from_disk_are_counted(tmp_path):
    conditions = SystemMonitor(tmp_path).between(reading(0, 0, [], swapped=7), reading(1, 0, [], swapped=19))
    assert conditions.swapped_in_pages == 12


def test_what_gauges_tell_comes_with_its_remedy(tmp_path):
    path = tmp_path / "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    path.parent.mkdir(parents=True)
    path.write_text("1\n")
    with SystemMonitor(tmp_path) as monitor:
        path.write_text("4\n")
    (event,) = monitor.conditions.throttling
    assert isinstance(event, ThrottlingEvent)
    assert "3 times" in event.message
    assert "cool" in event.remedy


def test_the_kernels_counters_are_understood(tmp_path):
    proc = tmp_path / "proc"
    proc.mkdir()
    # user nice system idle iowait irq softirq steal guest guest_nice: guests are within user.
    lines = [
        "cpu  9 9 9 9 9 9 9 9 9 9",
        f"cpu0 {TICKS} {TICKS} {TICKS} 70 80 {TICKS} {TICKS} {2 * TICKS} 5 5",
        "intr 7",
    ]
    (proc / "stat").write_text("\n".join(lines) + "\n")
    (proc / "vmstat").write_text("pswpin 12\npswpout 13\n")
    now = SystemMonitor(tmp_path).read()
    assert now.busy_s == {0: 5.0}
    assert now.stolen_s == {0: 2.0}
    assert now.swapped_in_pages == 12


def test_a_machine_that_tells_nothing(tmp_path):
    with SystemMonitor(tmp_path, cores=[0]) as monitor:
        pass
    conditions = monitor.conditions
    assert conditions == Conditions(conditions.seconds, throttling=conditions.throttling)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux keeps /proc/stat")
def test_this_machine_is_read():
    before = time.monotonic()
    with SystemMonitor() as monitor:
        sum(range(100_000))
    assert monitor.conditions.cores == os.cpu_count()
    assert 1e-4 < monitor.conditions.seconds <= time.monotonic() - before
