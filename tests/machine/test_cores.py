"""Cores: those this process may use, those measuring processes take turns on, and what the system says about them."""

import os
import subprocess
import sys
from itertools import count

import pytest

from kdbench.errors import InputError
from kdbench.machine import cores
from kdbench.machine.cores import choose_cores, quiet_cores, rotate_cores, siblings, strength

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")

NO_SMT = {core: str(core) for core in range(8)}
PAIRS_SIDE_BY_SIDE = {core: f"{core // 2 * 2}-{core // 2 * 2 + 1}" for core in range(8)}
PAIRS_FAR_APART = {core: f"{core % 4},{core % 4 + 4}" for core in range(8)}


@pytest.fixture(autouse=True)
def _eight(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.fixture
def machine(tmp_path):
    """Write what the system tells of each core below a root of its own."""

    def write(file, value):
        for core, text in value.items():
            path = tmp_path / f"sys/devices/system/cpu/cpu{core}" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return write


def threads_of(machine, value):
    return machine("topology/thread_siblings_list", value)


@pytest.mark.parametrize(
    ("value", "threads", "expected"),
    [
        (NO_SMT, (1, 2), (1, 2, 3, 4, 5, 6, 7)),
        ({}, (1,), (1, 2, 3, 4, 5, 6, 7)),
        (PAIRS_SIDE_BY_SIDE, (2,), (2, 4, 6)),
        (PAIRS_FAR_APART, (3,), (1, 2, 3)),
        (PAIRS_FAR_APART, (4,), (0, 1, 2, 3)),  # core 0 is needed
        (PAIRS_FAR_APART, (6,), (0, 1, 2, 3, 4, 5, 6, 7)),  # and here both threads of some
    ],
)
def test_one_hardware_thread_of_each_core_is_taken_save_core_0(machine, value, threads, expected):
    assert choose_cores(None, threads, threads_of(machine, value)) == expected


@pytest.mark.parametrize(
    ("file", "strengths"),
    [
        ("cpu_capacity", [430, 430, 430, 430, 1024, 1024, 1024, 980]),  # four efficient cores, four strong ones
        ("cpufreq/cpuinfo_max_freq", [2_000_000] * 4 + [3_600_000] * 4),
        ("cpu_capacity", ["", "?", "0", "430", "1024", "1024", "1024", "1024"]),
    ],
)
def test_cores_of_the_weaker_kind_are_left_out(machine, file, strengths):
    root = machine(file, dict(zip(count(), strengths, strict=False)))
    assert choose_cores(None, (1,), root) == choose_cores(None, (4,), root) == (4, 5, 6, 7)
    assert choose_cores(None, (5,), root) == (3, 4, 5, 6, 7)


@pytest.mark.parametrize(("cores", "expected"), [(range(2), (0, 1)), (range(3), (1, 2))])
def test_core_0_is_used_where_it_is_one_of_two(monkeypatch, tmp_path, cores, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(cores))
    assert choose_cores(None, (1,), tmp_path) == expected


def stat(root, idle):
    """Write a /proc/stat with these idle ticks, and as many of waiting for a disk, which is idle too."""
    lines = [f"cpu{core} 9 9 9 {ticks} {ticks} 9 9 9 9 9" for core, ticks in idle.items()]
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text("\n".join(["cpu 9 9 9 1 1 9", *lines, "intr 5 6"]), encoding="ascii")


@pytest.mark.parametrize(
    ("threads", "later", "expected"),
    [
        (1, {0: 3, 1: 3, 2: 3}, (2, 0, 1)),
        (1, {0: 3, 1: 0, 2: 3}, (2, 0)),
        (1, {0: 2, 1: 2, 2: 3}, (2,)),
        (2, {0: 2, 1: 0, 2: 3}, (2, 0)),  # two threads need two cores: the least busy
        (1, {0: 0, 1: 0, 2: 0}, (2, 0, 1)),  # all are as busy
        (3, {0: 0, 1: 0, 2: 3}, (2, 0, 1)),
        (1, {0: 3}, (2, 0, 1)),  # a core that is not listed: not known
    ],
)
def test_processes_keep_to_the_cores_that_other_work_leaves_free(tmp_path, threads, later, expected):
    stat(tmp_path, {0: 10, 1: 20, 2: 30})
    now = {core: 10 * (core + 1) + ticks for core, ticks in later.items()}
    assert quiet_cores((2, 0, 1), threads, tmp_path, lambda _: stat(tmp_path, now)) == expected


def test_without_counters_every_core_counts_as_free(tmp_path):
    assert quiet_cores((2, 0, 1), 1, tmp_path, lambda _: None) == (2, 0, 1)
    assert quiet_cores(None, 1, tmp_path) is None


def test_a_single_core_is_what_there_is(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert choose_cores(None, (1,), tmp_path) == (5,)


def test_cores_that_are_requested_for_are_taken_as_they_are():
    assert choose_cores((3, 1), (2,)) == (3, 1)
    assert choose_cores((3, 1), (1,)) == (3, 1)


@pytest.mark.parametrize(
    ("requested", "threads", "about"), [((8,), (1,), "cores: .* core 8"), ((0,), (2,), "1 named for 2 threads")]
)
def test_cores_that_cannot_be_are_refused(requested, threads, about):
    with pytest.raises(InputError, match=about):
        choose_cores(requested, threads)


def test_without_pinning_cores_cannot_be_requested_for(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    assert choose_cores(None, (1,)) is None
    with pytest.raises(InputError, match="cannot pin"):
        choose_cores((0,), (1,))


def test_processes_take_turns_from_the_last_cores_on():
    assert [rotate_cores((1, 2, 3), 1, turn) for turn in range(4)] == [(3,), (2,), (1,), (3,)]
    assert [rotate_cores((1, 2, 3), 2, turn) for turn in range(4)] == [(2, 3), (1, 2), (3, 1), (2, 3)]
    assert [rotate_cores((4, 2), 2, turn) for turn in range(2)] == [(4, 2), (2, 4)]  # one thread: 2, then 4
    assert rotate_cores(None, 1, 0) is None


def test_siblings_are_lists_and_ranges(tmp_path):
    for core, listed in ((1, "0-1,4"), (2, "2")):
        path = tmp_path / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(f"{listed}\n")
    assert siblings(1, tmp_path) == {0, 1, 4}
    assert siblings(2, tmp_path) == {2}
    assert siblings(9, tmp_path) is None


def test_strength_is_the_capacity_or_else_the_highest_clock(tmp_path):
    folder = tmp_path / "sys/devices/system/cpu/cpu3"
    (folder / "cpufreq").mkdir(parents=True)
    assert strength(3, tmp_path) == 0
    (folder / "cpufreq/cpuinfo_max_freq").write_text("3600000\n")
    assert strength(3, tmp_path) == 3_600_000
    (folder / "cpu_capacity").write_text("1024\n")
    assert strength(3, tmp_path) == 1024


def test_a_pinned_process_stays_there(monkeypatch):
    monkeypatch.undo()
    last = cores.available_cores()[-1]
    code = f"import os; from kdbench.machine.cores import pin; pin([{last}]); print(os.sched_getaffinity(0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{{{last}}}"
