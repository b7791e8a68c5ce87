"""RAPL in a powercap folder of our own."""

import os
from itertools import count

import pytest

from kdbench.meters.meter import Available, MeterError, Part, Rank, Unavailable
from kdbench.meters.rapl import Rapl, RaplPsys

MAX_UJ = 262_143_328_850  # a common range: 2^32 units of 61 µJ
JOULE = 1_000_000


class Powercap:
    """A powercap folder that zones are added to; `add` returns the zone's counter file."""

    def __init__(self, root):
        self.root = root

    def add(self, folder, name, energy_uj=0, max_uj=MAX_UJ):
        zone = self.root / folder
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "energy_uj").write_text(f"{energy_uj}\n")
        (zone / "max_energy_range_uj").write_text(f"{max_uj}\n")
        return zone / "energy_uj"


@pytest.fixture
def powercap(tmp_path):
    return Powercap(tmp_path)


@pytest.fixture
def make(powercap):
    """Make sources on the folder, with a clock that ticks a second a look; `pause` is what happens while they wait."""
    made = []

    def make(pause=lambda seconds: None, kind=Rapl, **machine):
        machine = {"system": "Linux", "machine": "x86_64", **machine}
        made.append(kind(powercap.root, clock=count(step=10**9).__next__, pause=pause, **machine))
        return made[-1]

    yield make
    for source in made:
        source.close()


def growing(*counters, by=JOULE):
    """Return a pause in which these counters grow."""

    def pause(_seconds):
        for counter in counters:
            counter.write_text(str(int(counter.read_text()) + by))

    return pause


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


def test_what_it_is():
    assert (Rapl.rank, Rapl.scope, Rapl.covers) == (Rank.COUNTER, "cpu.package", {Part.CPU})
    assert (RaplPsys.rank, RaplPsys.covers) == (Rank.BOARD, {Part.CPU, Part.GPU, Part.REST})


def test_packages_are_added_and_nothing_is_counted_twice(powercap, make):
    counters = [powercap.add("intel-rapl:0", "package-0", 5), powercap.add("intel-rapl:1", "package-1", 7)]
    others = [
        powercap.add("intel-rapl:0:0", "core"),
        powercap.add("intel-rapl:0:1", "dram"),
        powercap.add("intel-rapl:2", "psys"),
        powercap.add("intel-rapl:3", "package-1"),
        powercap.add("intel-rapl-mmio:0", "package-0"),
    ]
    source = make()
    assert source.read()[1] == 0.0
    for file in others:
        file.write_text("999000000")
    counters[0].write_text("1000005")
    counters[1].write_text("2000007")
    assert source.read()[1] == 3.0


def test_zones_below_their_driver_as_in_sys_devices(powercap, make):
    counter = powercap.add("intel-rapl/intel-rapl:0", "package-0", 5)
    part = powercap.add("intel-rapl/intel-rapl:0/intel-rapl:0:0", "core")
    source = make()
    source.read()
    counter.write_text("1000005")
    part.write_text("9000000")
    assert source.read()[1] == 1.0


def test_a_zone_that_two_paths_reach_counts_once(powercap, make):
    counter = powercap.add("devices/intel-rapl:0", "package-0", 0)
    (powercap.root / "intel-rapl").symlink_to(powercap.root / "devices")
    (powercap.root / "intel-rapl:0").symlink_to(powercap.root / "devices/intel-rapl:0")
    source = make()
    source.read()
    counter.write_text("1000000")
    assert source.read()[1] == 1.0


def test_mmio_where_it_is_the_only_way(powercap, make):
    counter = powercap.add("intel-rapl-mmio:0", "package-0", 0)
    assert make(growing(counter)).available() == Available("1 package")


def test_dies_are_added(powercap, make):
    dies = [
        powercap.add("intel-rapl:0", "package-0-die-0", 100 * JOULE),
        powercap.add("intel-rapl:1", "package-0-die-1", 200 * JOULE),
    ]
    source = make(growing(*dies))
    source.read()
    growing(*dies, by=3 * JOULE)(0)
    assert source.read()[1] == 6.0
    assert source.available() == Available("1 package")


def test_dies_that_show_one_counter_count_once(powercap, make):
    """AMD counts by package; some kernels show that counter once a die, read a little later for each."""
    dies = [
        powercap.add("intel-rapl:0", "package-0-die-0", MAX_UJ - 100),
        powercap.add("intel-rapl:1", "package-0-die-1", 1000),  # the same counter, that wrapped in between
        powercap.add("intel-rapl:2", "package-1-die-0", 500),  # another package, that stands there by chance
        powercap.add("intel-rapl:3", "package-0-die-2", MAX_UJ - 200),  # a die that is a little behind
    ]
    source = make()
    source.read()
    dies[0].write_text(str(4 * JOULE - 101))
    dies[1].write_text(str(4 * JOULE + 1000))
    dies[2].write_text(str(2 * JOULE + 500))
    dies[3].write_text(str(4 * JOULE - 201))
    assert source.read()[1] == 6.0


def test_a_wrap_goes_on_counting(powercap, make):
    counter = powercap.add("intel-rapl:0", "package-0", MAX_UJ - 999_999)
    source = make()
    source.read()
    counter.write_text("0")
    assert source.read()[1] == 1.0
    counter.write_text("500000")
    assert source.read()[1] == 1.5


def test_a_counter_that_was_reset_is_an_error_not_a_turn_of_it(powercap, make):
    """Elsewhere a negative energy; by the plain modulo, 262 kJ in a second."""
    counter = powercap.add("intel-rapl:0", "package-0", 130 * JOULE)
    source = make()
    source.read()
    counter.write_text(str(5 * JOULE))
    with pytest.raises(MeterError, match="went back"):
        source.read()


def test_a_turn_that_takes_as_long_as_it_should_is_none(powercap, make):
    counter = powercap.add("intel-rapl:0", "package-0", MAX_UJ - 400 * JOULE)
    source = make()
    source.read()
    counter.write_text(str(300 * JOULE))  # 700 J in a second or two: a large package at full load
    assert source.read()[1] == pytest.approx(700)


def test_a_counter_at_its_greatest_value(powercap, make):
    counter = powercap.add("intel-rapl:0", "package-0", MAX_UJ - 1_000_000)
    source = make()
    source.read()
    counter.write_text(str(MAX_UJ))
    assert source.read()[1] == 1.0
    counter.write_text("999999")
    assert source.read()[1] == 2.0


def test_a_counter_beyond_its_range_wraps_without_a_turn_too_much(powercap, make):
    counter = powercap.add("intel-rapl:0", "package-0", MAX_UJ + 61)
    source = make()
    source.read()
    counter.write_text("5")
    assert source.read()[1] < 1e-4


def test_each_package_wraps_by_itself(powercap, make):
    first = powercap.add("intel-rapl:0", "package-0", 99, max_uj=99)
    second = powercap.add("intel-rapl:1", "package-1", 10)
    source = make()
    source.read()
    first.write_text("9")
    second.write_text("20")
    assert source.read()[1] == pytest.approx(20e-6)


def test_available_is_a_counter_that_moved(powercap, make):
    first, second = powercap.add("intel-rapl:0", "package-0", 5), powercap.add("intel-rapl:1", "package-1", 5)
    source = make(growing(first, second))
    assert source.available() == Available("2 packages")
    assert source.read()[1] == 0.0  # what it took to prove it is forgotten


def test_a_closed_source_starts_anew(powercap, make):
    counter = powercap.add("intel-rapl:0", "package-0", 5)
    source = make()
    source.read()
    source.close()
    counter.write_text("7000000")
    assert source.read()[1] == 0.0


def test_no_counters(make):
    state = make().available()
    assert state == Unavailable("RAPL: no counters", state.hint)
    assert "KDBENCH_POWERCAP" in state.hint
    assert "sudo modprobe intel_rapl_msr" in state.hint
    with pytest.raises(MeterError, match="RAPL: no counters"):
        make().read()


def test_counters_hidden_behind_dead_links(powercap, make):
    """In a container the links of /sys/class/powercap stay, and what they point to is hidden."""
    (powercap.root / "intel-rapl:0").symlink_to(powercap.root / "hidden")
    assert make().available().reason == "RAPL: no counters"


@pytest.mark.parametrize("here", [{"system": "Darwin", "machine": "x86_64"}, {"machine": "aarch64"}])
def test_machines_that_have_no_rapl(make, here):
    state = make(**here).available()
    assert isinstance(state, Unavailable)
    assert not state.expected


def test_counters_that_stand_still_measure_nothing(powercap, make):
    powercap.add("intel-rapl:0", "package-0", 5)
    assert make().available().reason == "RAPL: counters do not advance"


def test_counters_for_root_only_come_with_the_remedy(powercap, make, deny):
    deny(powercap.add("intel-rapl:0", "package-0", 5))
    state = make().available()
    assert state.reason == "RAPL: permission denied"
    assert f"sudo chmod a+r {powercap.root}/intel-rapl:*/energy_uj" in state.hint
    assert "udev" in state.hint


@pytest.mark.parametrize("content", ["what", ""])
def test_a_counter_that_holds_no_number(powercap, make, content):
    powercap.add("intel-rapl:0", "package-0", content)
    state = make().available()
    assert state.reason == "RAPL: unreadable"
    assert f"cat {powercap.root}/intel-rapl:*/energy_uj" in state.hint


def test_a_fault_midway(powercap, make):
    counter = powercap.add("intel-rapl:0", "package-0", 5)
    source = make()
    source.read()
    counter.write_text("")
    with pytest.raises(MeterError, match=r"^RAPL: unreadable$"):
        source.read()


def test_a_kernel_that_refuses_midway(powercap, make, monkeypatch):
    powercap.add("intel-rapl:0", "package-0", 5)
    source = make()
    source.read()

    def refuse(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", refuse)
    with pytest.raises(MeterError, match=r"^RAPL: unreadable$"):
        source.read()


def test_the_environment_names_the_folder(powercap, monkeypatch):
    counter = powercap.add("intel-rapl:0", "package-0", 5)
    monkeypatch.setenv("KDBENCH_POWERCAP", str(powercap.root))
    assert Rapl(pause=growing(counter)).available() == Available("1 package")


def test_the_platform_counts_apart_from_the_packages(powercap, make):
    package, psys = powercap.add("intel-rapl:0", "package-0"), powercap.add("intel-rapl:1", "psys")
    source = make(growing(psys), kind=RaplPsys)
    assert source.available() == Available("psys domain, the whole platform")
    source.read()
    package.write_text("9000000")
    growing(psys)(0)
    assert source.read()[1] == 1.0


def test_the_platform_stands_in_where_there_is_no_package(powercap, make):
    psys = powercap.add("intel-rapl:0", "psys")
    assert make().available().reason == "RAPL: no counters"
    assert isinstance(make(growing(psys), kind=RaplPsys).available(), Available)


def test_most_machines_have_no_platform_counter(powercap, make):
    powercap.add("intel-rapl:0", "package-0")
    state = make(kind=RaplPsys).available()
    assert isinstance(state, Unavailable)
    assert not state.expected
