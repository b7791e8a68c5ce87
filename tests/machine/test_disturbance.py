"""Conditions in, warnings out."""

from dataclasses import replace

import pytest

from kdbench.machine import disturbance
from kdbench.machine.disturbance import condition_facts, condition_warnings, crowding, shared_cores, threads_warnings
from kdbench.machine.system_monitor import Conditions, Slowed

QUIET = Conditions(
    seconds=2.0,
    cores=8,
    others_cores=0.05,
    others_chosen_cores=0.0,
    siblings_cores=0.0,
    stolen_share=0.0,
    swapped_in_pages=0,
)
HOT = Slowed("the processor throttled 3 times because of heat", "let it cool")
STOPPED = Slowed("the CPU quota stopped it for 9 ms", "raise the limit")


def warned(*changes):
    return list(condition_warnings([replace(QUIET, **change) for change in changes]))


def test_a_quiet_machine_and_one_that_tells_nothing_give_no_warning():
    assert warned({}, {}, {}) == []
    assert list(condition_warnings([Conditions(2.0)])) == []
    assert list(condition_warnings([])) == []


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"others_cores": 1.26}, "load", "in 1 of 3 sessions other work kept up to 1.3 of 8 cores busy"),
        (
            {"others_cores": 0.3, "others_chosen_cores": 0.2},
            "load",
            "in 1 of 3 sessions other work kept up to 0.3 of 8 cores busy, 0.2 of it on the cores of the models",
        ),
        ({"stolen_share": 0.06}, "stolen_time", "2.0 %"),
        ({"siblings_cores": 0.4}, "busy_siblings", "up to 0.40 hardware threads"),
        ({"swapped_in_pages": 300}, "swapping", "300 pages"),
        ({"slowed": (HOT,)}, "throttled", "in 1 of 3 sessions the processor throttled 3 times because of heat"),
    ],
)
def test_each_disturbance_is_said_once_with_a_remedy(change, code, says):
    (found,) = warned({}, change, {})
    assert found.code == code
    assert says in found.message
    assert found.remedy
    assert found.model is None


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
    assert warned(change) == []


def test_signs_of_one_remedy_are_said_together():
    fell = Slowed("the clock fell from 2400 to 1500 MHz", HOT.remedy)
    hot, stopped = warned({"slowed": (HOT, fell)}, {"slowed": (fell,)}, {"slowed": (STOPPED,)}, {})
    assert hot.message == f"in 2 of 4 sessions {HOT.sign} and {fell.sign}"
    assert (stopped.code, stopped.message) == ("throttled", f"in 1 of 4 sessions {STOPPED.sign}")


def test_facts_are_averages_over_time():
    facts = condition_facts([replace(QUIET, others_cores=1.0), replace(QUIET, seconds=6.0, others_cores=0.0)])
    assert facts["meanwhile"]["others_cores"] == 0.25
    assert facts["meanwhile"]["stolen_share"] == 0
    assert condition_facts([Conditions(2.0)]) == {}


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
    found = list(crowding(threads, usable, quota))
    assert len(found) == len(says)
    for warning, part in zip(found, says, strict=True):
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
    found = list(shared_cores(cores, threads, smt))
    assert [w.message.partition(" are")[0] for w in found] == ([shared] if shared else [])
    assert all(w.code == "shared_core" and "--cores" in w.remedy for w in found)


def test_more_threads_than_cores_and_a_quota_below_the_threads(monkeypatch, tmp_path):
    monkeypatch.setattr(disturbance, "available_cores", lambda: (0, 1))
    assert [w.code for w in threads_warnings(4, (0, 1), tmp_path)] == ["oversubscribed"]
    assert list(threads_warnings(2, (0, 1), tmp_path)) == []
    path = tmp_path / "sys/fs/cgroup/cpu.max"
    path.parent.mkdir(parents=True)
    path.write_text("150000 100000\n")
    (found,) = threads_warnings(2, (0, 1), tmp_path)
    assert "may use 1.5 cores: 2 threads" in found.message
    assert list(threads_warnings(1, (0, 1), tmp_path)) == []
