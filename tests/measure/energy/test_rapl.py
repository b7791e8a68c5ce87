import os

import pytest

from kdbench.measure.energy.rapl import Rapl
from kdbench.measure.energy.source import Available, Unavailable

MAX_UJ = 262_143_328_850  # a common range: 2^32 units of 61 µJ


@pytest.fixture
def powercap(tmp_path):
    """Make a powercap folder; returns a function that adds a domain."""

    def add(folder, name, energy_uj=0, max_uj=MAX_UJ):
        domain = tmp_path / folder
        domain.mkdir()
        (domain / "name").write_text(f"{name}\n")
        (domain / "energy_uj").write_text(f"{energy_uj}\n")
        (domain / "max_energy_range_uj").write_text(f"{max_uj}\n")
        return domain / "energy_uj"

    add.root = tmp_path
    return add


@pytest.fixture
def rapl(powercap):
    """Make a source on the folder, with a clock that stands still; `pause` is what happens while it waits."""
    return lambda pause=lambda seconds: None: Rapl(powercap.root, clock=lambda: 42, pause=pause)


def test_no_folder_at_all(tmp_path):
    state = Rapl(tmp_path / "nothing").available()
    assert isinstance(state, Unavailable)
    assert "virtual machine" in state.reason


def test_packages_are_added_and_nothing_is_counted_twice(powercap, rapl):
    counters = [powercap("intel-rapl:0", "package-0", 5), powercap("intel-rapl:1", "package-1", 7)]
    others = [
        powercap("intel-rapl:0:0", "core"),
        powercap("intel-rapl:0:1", "dram"),
        powercap("intel-rapl:2", "psys"),
        powercap("intel-rapl-mmio:0", "package-0"),
    ]
    source = rapl()
    assert source.read() == (42, 0.0)
    for file in others:
        file.write_text("999000000")
    counters[0].write_text("1000005")
    counters[1].write_text("2000007")
    assert source.read() == (42, 3.0)


def test_a_wrap_goes_on_counting(powercap, rapl):
    counter = powercap("intel-rapl:0", "package-0", MAX_UJ - 999_999)
    source = rapl()
    source.read()
    counter.write_text("0")
    assert source.read()[1] == 1.0
    counter.write_text("500000")
    assert source.read()[1] == 1.5


def test_each_package_wraps_by_itself(powercap, rapl):
    first, second = powercap("intel-rapl:0", "package-0", 99, max_uj=99), powercap("intel-rapl:1", "package-1", 10)
    source = rapl()
    source.read()
    first.write_text("9")
    second.write_text("20")
    assert source.read()[1] == pytest.approx(20e-6)


def test_available_is_a_counter_that_moved(powercap, rapl):
    counter = powercap("intel-rapl:0", "package-0", 5)
    moving = rapl(pause=lambda seconds: counter.write_text("600"))
    assert moving.available() == Available("1 CPU packages")


def test_a_counter_that_stands_still_measures_nothing(powercap, rapl):
    powercap("intel-rapl:0", "package-0", 5)
    state = rapl().available()
    assert isinstance(state, Unavailable)
    assert "stand still" in state.reason


def test_counters_for_root_only_come_with_the_remedy(powercap, rapl, monkeypatch):
    counter = powercap("intel-rapl:0", "package-0", 5)
    if os.geteuid() == 0:  # root reads everything, so the kernel's answer is put in place of it

        def refuse(self, *_, **__):
            if self == counter:
                raise PermissionError(13, "Permission denied", str(self))
            return original(self)

        original = type(counter).read_text
        monkeypatch.setattr(type(counter), "read_text", refuse)
    else:
        counter.chmod(0)
    state = rapl().available()
    assert isinstance(state, Unavailable)
    assert "root" in state.reason
    assert state.hint.startswith("sudo chmod")


def test_a_counter_that_holds_no_number(powercap, rapl):
    powercap("intel-rapl:0", "package-0", "what")
    state = rapl().available()
    assert isinstance(state, Unavailable)
    assert "cannot be read" in state.reason
