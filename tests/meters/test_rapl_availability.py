"""Whether RAPL can measure on a machine, and what helps where it cannot."""

import os

import pytest
from meters.powercap import growing

from kdbench.meters.meter import Available, MeterError, Unavailable
from kdbench.meters.rapl import RaplPsys


@pytest.fixture
def deny(monkeypatch):
    """Refuse the opening of a file, as the kernel does; root, whom no mode stops, is answered in its place."""

    def deny(file):
        file.chmod(0)
        if os.geteuid() == 0:
            opened = os.open

            def refuse(path, *args, **kwargs):
                if path == file:
                    raise PermissionError(13, "Permission denied", str(path))
                return opened(path, *args, **kwargs)

            monkeypatch.setattr(os, "open", refuse)

    return deny


def test_available_is_a_counter_that_moved(powercap, make_rapl):
    first, second = powercap.add("intel-rapl:0", "package-0", 5), powercap.add("intel-rapl:1", "package-1", 5)
    source = make_rapl(growing(first, second))
    assert source.available() == Available("2 packages")
    assert source.read()[1] == 0.0  # what it took to prove it is forgotten


def test_no_counters(make_rapl):
    state = make_rapl().available()
    assert state == Unavailable("RAPL: no counters", state.hint)
    assert "KDBENCH_POWERCAP" in state.hint
    assert "sudo modprobe intel_rapl_msr" in state.hint
    with pytest.raises(MeterError, match="RAPL: no counters"):
        make_rapl().read()


def test_counters_hidden_behind_dead_links(powercap, make_rapl):
    """In a container the links of /sys/class/powercap stay, and what they point to is hidden."""
    (powercap.root / "intel-rapl:0").symlink_to(powercap.root / "hidden")
    assert make_rapl().available().reason == "RAPL: no counters"


@pytest.mark.parametrize("here", [{"system": "Darwin", "machine": "x86_64"}, {"machine": "aarch64"}])
def test_machines_that_have_no_rapl(make_rapl, here):
    state = make_rapl(**here).available()
    assert isinstance(state, Unavailable)
    assert not state.expected


def test_counters_that_stand_still_measure_nothing(powercap, make_rapl):
    powercap.add("intel-rapl:0", "package-0", 5)
    assert make_rapl().available().reason == "RAPL: counters do not advance"


def test_counters_for_root_only_come_with_the_remedy(powercap, make_rapl, deny):
    deny(powercap.add("intel-rapl:0", "package-0", 5))
    state = make_rapl().available()
    assert state.reason == "RAPL: permission denied"
    assert f"sudo chmod a+r {powercap.root}/intel-rapl:*/energy_uj" in state.hint
    assert "udev" in state.hint


@pytest.mark.parametrize("content", ["what", ""])
def test_a_counter_that_holds_no_number(powercap, make_rapl, content):
    powercap.add("intel-rapl:0", "package-0", content)
    state = make_rapl().available()
    assert state.reason == "RAPL: unreadable"
    assert f"cat {powercap.root}/intel-rapl:*/energy_uj" in state.hint


def test_a_fault_midway(powercap, make_rapl):
    counter = powercap.add("intel-rapl:0", "package-0", 5)
    source = make_rapl()
    source.read()
    counter.write_text("")
    with pytest.raises(MeterError, match=r"^RAPL: unreadable$"):
        source.read()


def test_a_kernel_that_refuses_midway(powercap, make_rapl, monkeypatch):
    powercap.add("intel-rapl:0", "package-0", 5)
    source = make_rapl()
    source.read()

    def refuse(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", refuse)
    with pytest.raises(MeterError, match=r"^RAPL: unreadable$"):
        source.read()


def test_the_platform_stands_in_where_there_is_no_package(powercap, make_rapl):
    psys = powercap.add("intel-rapl:0", "psys")
    assert make_rapl().available().reason == "RAPL: no counters"
    assert isinstance(make_rapl(growing(psys), kind=RaplPsys).available(), Available)


def test_most_machines_have_no_platform_counter(powercap, make_rapl):
    powercap.add("intel-rapl:0", "package-0")
    state = make_rapl(kind=RaplPsys).available()
    assert isinstance(state, Unavailable)
    assert not state.expected
