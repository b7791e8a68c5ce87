"""Conditions in, warnings out."""

from dataclasses import replace

import pytest

from kdbench.machine import diagnostics
from kdbench.machine.diagnostics import (
    condition_averages,
    environment_diagnostics,
    oversubscription,
    session_diagnostics,
    shared_core_diagnostics,
    thread_diagnostics,
)
from kdbench.machine.system_monitor import Conditions, ThrottlingEvent
from kdbench.results.records import Environment

QUIET = Conditions(
    seconds=2.0,
    cores=8,
    others_cores=0.05,
    others_chosen_cores=0.0,
    siblings_cores=0.0,
    stolen_share=0.0,
    swapped_in_pages=0,
)
HOT = ThrottlingEvent("cores counted 3 times that they throttled because of heat", "let it cool")
STOPPED = ThrottlingEvent("the CPU quota stopped it for 9 ms", "raise the limit")


def diagnosed(*changes):
    return list(session_diagnostics([replace(QUIET, **change) for change in changes]))


def test_a_quiet_machine_and_one_that_tells_nothing_give_no_warning():
    assert diagnosed({}, {}, {}) == []
    assert list(session_diagnostics([Conditions(2.0)])) == []
    assert list(session_diagnostics([])) == []


@pytest.mark.parametrize(
    ("change", "code", "says", "remedy"),
    [
        (
            {"others_cores": 1.26},
            "load",
            "in 1 of 3 sessions other work kept up to 1.3 of 8 cores busy",
            "otherwise idle",
        ),
        (
            {"others_cores": 0.3, "others_chosen_cores": 0.2},
            "load",
            "in 1 of 3 sessions other work kept up to 0.3 of 8 cores busy, 0.2 of it on the cores of the models",
            "otherwise idle",
        ),
        ({"stolen_share": 0.06}, "stolen_time", "2.0 %", "a dedicated machine"),
        ({"siblings_cores": 0.4}, "busy_siblings", "up to 0.40 of them busy", "switch SMT off"),
        ({"swapped_in_pages": 300}, "swapping", "300 pages", "end programs that hold memory"),
        (
            {"throttling": (HOT,)},
            "throttled",
            "in 1 of 3 sessions cores counted 3 times that they throttled because of heat",
            HOT.remedy,
        ),
    ],
)
def test_each_disturbance_is_said_once_with_a_remedy(change, code, says, remedy):
    (result,) = diagnosed({}, change, {})
    assert result.code == code
    assert says in result.message
    assert remedy in result.remedy
    assert result.model is None


@pytest.mark.parametrize(
    "change",
    [
        {"others_cores": 0.49},
        {"others_chosen_cores": 0.04},
        {"stolen_share": 0.009},
        {"siblings_cores": 0.04},
        {"swapped_in_pages": 255},
    ],
)
def test_below_their_limits_disturbances_are_fine(change):
    assert diagnosed(change) == []


def test_events_with_one_remedy_are_said_together():
    fell = ThrottlingEvent("the clock fell from 2400 to 1500 MHz", HOT.remedy)
    hot, stopped = diagnosed({"throttling": (HOT, fell)}, {"throttling": (fell,)}, {"throttling": (STOPPED,)}, {})
    assert hot.message == f"in 2 of 4 sessions {HOT.message} and {fell.message}"
    assert (stopped.code, stopped.message) == ("throttled", f"in 1 of 4 sessions {STOPPED.message}")


def test_facts_are_averages_over_time():
    facts = condition_averages([replace(QUIET, others_cores=1.0), replace(QUIET, seconds=6.0, others_cores=0.0)])
    assert facts["meanwhile"]["others_cores"] == 0.25
    assert facts["meanwhile"]["stolen_share"] == 0
    assert condition_averages([Conditions(2.0)]) == {}


@pytest.mark.parametrize(
    ("threads", "usable", "quota", "says"),
    [
        (4, 4, 4.0, []),
        (4, 4, None, []),
        (2, 8, 1.5, ["may use 1.5 cores: 2 threads"]),
        (8, 4, None, ["8 threads share the 4 cores"]),
        (2, 1, None, ["2 threads share the one core"]),
    ],
)
def test_more_threads_than_cores(threads, usable, quota, says):
    result = list(oversubscription(threads, usable, quota))
    assert len(result) == len(says)
    for warning, part in zip(result, says, strict=True):
        assert warning.code == "oversubscribed"
        assert part in warning.message


@pytest.fixture
def smt(tmp_path):
    for core in range(4):
        path = tmp_path / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(f"{core // 2 * 2}-{core // 2 * 2 + 1}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("cores", "threads", "shared"),
    [
        ((2, 3), 2, "cores 2 and 3"),
        ((2, 3), 1, None),
        ((1, 3), 2, None),
        (None, 2, None),
        ((0, 1, 3), 1, None),
        ((0, 1, 3), 2, "cores 0 and 1"),  # in the third process
        ((0, 2), 5, None),  # more threads than cores: a warning of its own
    ],
)
def test_threads_on_one_physical_core(smt, cores, threads, shared):
    result = list(shared_core_diagnostics(cores, threads, smt))
    assert [w.message.partition(" are")[0] for w in result] == ([shared] if shared else [])
    assert all(w.code == "shared_core" and "--cores" in w.remedy for w in result)


def test_more_threads_than_cores_and_a_quota_below_the_threads(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnostics, "available_cores", lambda: (0, 1))
    assert [w.code for w in thread_diagnostics(4, (0, 1), tmp_path)] == ["oversubscribed"]
    assert list(thread_diagnostics(2, (0, 1), tmp_path)) == []
    path = tmp_path / "sys/fs/cgroup/cpu.max"
    path.parent.mkdir(parents=True)
    path.write_text("150000 100000\n")
    (result,) = thread_diagnostics(2, (0, 1), tmp_path)
    assert "may use 1.5 cores: 2 threads" in result.message
    assert list(thread_diagnostics(1, (0, 1), tmp_path)) == []


def machine(**facts) -> Environment:
    quiet = {
        "cores_busy": 0.1,
        "cores_usable": 4,
        "cores_logical": 4,
        "governor": "performance",
        "clock_limit_share": None,
    }
    return Environment(host={**quiet, "virtualization": None, **facts}, libraries={})


def test_a_quiet_machine_gives_no_warning():
    assert list(environment_diagnostics(machine())) == []


@pytest.mark.parametrize(
    ("facts", "code", "says", "remedy"),
    [
        ({"cores_busy": 1.6}, "load", "1.6 of 4 cores busy", "otherwise idle"),
        ({"governor": "powersave"}, "governor", "'powersave'", "--governor performance"),
        ({"governor": None}, "governor_unknown", "cannot be read", "repeat on bare metal"),
        ({"clock_limit_share": 0.6}, "clock_limit", "to 60 %", "frequency-set --max $(cat "),
        ({"virtualization": "QEMU", "governor": None}, "virtual_machine", "virtual machine", "on the target device"),
    ],
)
def test_what_makes_numbers_shaky_is_said_once_with_a_remedy(facts, code, says, remedy):
    (diagnostic,) = environment_diagnostics(machine(**facts))
    assert diagnostic.code == code
    assert says in diagnostic.message
    assert remedy in diagnostic.remedy


@pytest.mark.parametrize("facts", [{"cores_busy": 0.4}, {"clock_limit_share": 1.0}])
def test_the_limits_themselves_are_fine(facts):
    assert list(environment_diagnostics(machine(**facts))) == []


def test_facts_that_are_not_known_are_no_ground_for_a_warning_but_the_governor():
    codes = [diagnostic.code for diagnostic in environment_diagnostics(Environment(host={}, libraries={}))]
    assert codes == ["governor_unknown"]
