"""Resident memory, from files as Linux writes them and from this process."""

import sys

import pytest

from kdbench.machine import resident

STATUS = "Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\n"


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "status").write_text(STATUS)
    return tmp_path


def test_present_and_high_water_mark(proc):
    assert resident.resident_bytes(proc) == 200 * 1024
    assert resident.high_water(restarted=True, proc=proc) == resident.HighWater(300 * 1024, "counting began")


def test_a_mark_that_lags_is_not_below_the_present(proc):
    (proc / "status").write_text(STATUS.replace("300", "100"))
    assert resident.high_water(restarted=True, proc=proc).peak_bytes == 200 * 1024


def test_a_mark_that_cannot_be_set_back_is_of_the_whole_process(tmp_path, proc):
    assert resident.restart(proc)
    assert (proc / "clear_refs").read_text() == "5"
    assert not resident.restart(tmp_path / "nowhere")
    assert resident.high_water(restarted=False, proc=proc).since == "it started"


def test_a_status_without_the_field(proc):
    (proc / "status").write_text("Name:\tpython\n")
    with pytest.raises(resident.UnknownError, match="VmRSS"):
        resident.resident_bytes(proc)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can set the mark back")
def test_memory_that_was_given_back_is_in_the_mark_until_it_is_set_back():
    size = 64 << 20
    before = resident.resident_bytes()
    block = b"x" * size
    del block
    peak = resident.high_water(restarted=False).peak_bytes
    assert peak >= before + size * 0.9
    if not resident.restart():
        pytest.skip("this container keeps /proc/self/clear_refs closed")
    assert resident.high_water(restarted=True).peak_bytes < peak - size * 0.5
