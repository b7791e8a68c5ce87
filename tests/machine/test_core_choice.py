"""Which cores measuring processes take turns on."""

import os
from itertools import count

import pytest

from kdbench.errors import InputError
from kdbench.machine.core_choice import chosen_cores, of_turn

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")

EACH_ITS_OWN = {core: str(core) for core in range(8)}
PAIRS_SIDE_BY_SIDE = {core: f"{core // 2 * 2}-{core // 2 * 2 + 1}" for core in range(8)}
PAIRS_FAR_APART = {core: f"{core % 4},{core % 4 + 4}" for core in range(8)}


@pytest.fixture(autouse=True)
def _eight(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.fixture
def machine(tmp_path):
    """Write what the system tells of each core below a root of its own."""

    def write(file, told):
        for core, text in told.items():
            path = tmp_path / f"sys/devices/system/cpu/cpu{core}" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return write


def threads_of(machine, told):
    return machine("topology/thread_siblings_list", told)


@pytest.mark.parametrize(
    ("told", "threads", "expected"),
    [
        (EACH_ITS_OWN, (1, 2), (1, 2, 3, 4, 5, 6, 7)),
        ({}, (1,), (1, 2, 3, 4, 5, 6, 7)),
        (PAIRS_SIDE_BY_SIDE, (2,), (2, 4, 6)),
        (PAIRS_FAR_APART, (3,), (1, 2, 3)),
        (PAIRS_FAR_APART, (4,), (0, 1, 2, 3)),  # core 0 is needed
        (PAIRS_FAR_APART, (6,), (0, 1, 2, 3, 4, 5, 6, 7)),  # and here both threads of some
    ],
)
def test_one_hardware_thread_of_each_core_is_taken_save_core_0(machine, told, threads, expected):
    assert chosen_cores(None, threads, threads_of(machine, told)) == expected


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
    assert chosen_cores(None, (1,), root) == chosen_cores(None, (4,), root) == (4, 5, 6, 7)
    assert chosen_cores(None, (5,), root) == (3, 4, 5, 6, 7)


def test_a_single_core_is_what_there_is(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert chosen_cores(None, (1,), tmp_path) == (5,)


def test_cores_that_are_asked_for_are_taken_as_they_are():
    assert chosen_cores((3, 1), (2,)) == (3, 1)
    assert chosen_cores((3, 1), (1,)) == (3, 1)


@pytest.mark.parametrize(
    ("asked", "threads", "about"), [((8,), (1,), "cores: 8"), ((0,), (2,), "1 named for 2 threads")]
)
def test_cores_that_cannot_be_are_refused(asked, threads, about):
    with pytest.raises(InputError, match=about):
        chosen_cores(asked, threads)


def test_without_pinning_cores_cannot_be_asked_for(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    assert chosen_cores(None, (1,)) is None
    with pytest.raises(InputError, match="cannot pin"):
        chosen_cores((0,), (1,))


def test_processes_take_turns_from_the_last_cores_on():
    assert [of_turn((1, 2, 3), 1, turn) for turn in range(4)] == [(3,), (2,), (1,), (3,)]
    assert [of_turn((1, 2, 3), 2, turn) for turn in range(4)] == [(2, 3), (1, 2), (3, 1), (2, 3)]
    assert [of_turn((4, 2), 2, turn) for turn in range(2)] == [(4, 2), (2, 4)]  # one thread would run on 2, then on 4
    assert of_turn(None, 1, 0) is None
