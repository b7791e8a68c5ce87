"""Joules of RAPL from a powercap folder of our own: which zones count, and wraps of their counters."""

import pytest
from meters.powercap import JOULE, MAX_UJ, growing

from kdbench.meters.meter import Available, MeterError, Part, Rank
from kdbench.meters.rapl import Rapl, RaplPsys


def test_what_it_is():
    assert (Rapl.rank, Rapl.scope, Rapl.covers) == (Rank.COUNTER, "cpu.package", {Part.CPU})
    assert (RaplPsys.rank, RaplPsys.covers) == (Rank.BOARD, {Part.CPU, Part.GPU, Part.REST})


def test_packages_are_added_and_nothing_is_counted_twice(powercap, make_rapl):
    counters = [powercap.add("intel-rapl:0", "package-0", 5), powercap.add("intel-rapl:1", "package-1", 7)]
    others = [
        powercap.add("intel-rapl:0:0", "core"),
        powercap.add("intel-rapl:0:1", "dram"),
        powercap.add("intel-rapl:2", "psys"),
        powercap.add("intel-rapl:3", "package-1"),
        powercap.add("intel-rapl-mmio:0", "package-0"),
    ]
    source = make_rapl()
    assert source.read()[1] == 0.0
    for file in others:
        file.write_text("999000000")
    counters[0].write_text("1000005")
    counters[1].write_text("2000007")
    assert source.read()[1] == 3.0


def test_zones_below_their_driver_as_in_sys_devices(powercap, make_rapl):
    counter = powercap.add("intel-rapl/intel-rapl:0", "package-0", 5)
    part = powercap.add("intel-rapl/intel-rapl:0/intel-rapl:0:0", "core")
    source = make_rapl()
    source.read()
    counter.write_text("1000005")
    part.write_text("9000000")
    assert source.read()[1] == 1.0


def test_a_zone_that_two_paths_reach_counts_once(powercap, make_rapl):
    counter = powercap.add("devices/intel-rapl:0", "package-0", 0)
    (powercap.root / "intel-rapl").symlink_to(powercap.root / "devices")
    (powercap.root / "intel-rapl:0").symlink_to(powercap.root / "devices/intel-rapl:0")
    source = make_rapl()
    source.read()
    counter.write_text("1000000")
    assert source.read()[1] == 1.0


def test_mmio_where_it_is_the_only_way(powercap, make_rapl):
    counter = powercap.add("intel-rapl-mmio:0", "package-0", 0)
    assert make_rapl(growing(counter)).available() == Available("1 package")


def test_dies_are_added(powercap, make_rapl):
    dies = [
        powercap.add("intel-rapl:0", "package-0-die-0", 100 * JOULE),
        powercap.add("intel-rapl:1", "package-0-die-1", 200 * JOULE),
    ]
    source = make_rapl(growing(*dies))
    source.read()
    growing(*dies, by=3 * JOULE)(0)
    assert source.read()[1] == 6.0
    assert source.available() == Available("1 package")


def test_dies_that_show_one_counter_count_once(powercap, make_rapl):
    """AMD counts by package; some kernels show that counter once a die, read a little later for each."""
    dies = [
        powercap.add("intel-rapl:0", "package-0-die-0", MAX_UJ - 100),
        powercap.add("intel-rapl:1", "package-0-die-1", 1000),  # the same counter, that wrapped in between
        powercap.add("intel-rapl:2", "package-1-die-0", 500),  # another package, that stands there by chance
        powercap.add("intel-rapl:3", "package-0-die-2", MAX_UJ - 200),  # a die that is a little behind
    ]
    source = make_rapl()
    source.read()
    dies[0].write_text(str(4 * JOULE - 101))
    dies[1].write_text(str(4 * JOULE + 1000))
    dies[2].write_text(str(2 * JOULE + 500))
    dies[3].write_text(str(4 * JOULE - 201))
    assert source.read()[1] == 6.0


def test_a_wrap_goes_on_counting(powercap, make_rapl):
    counter = powercap.add("intel-rapl:0", "package-0", MAX_UJ - 999_999)
    source = make_rapl()
    source.read()
    counter.write_text("0")
    assert source.read()[1] == 1.0
    counter.write_text("500000")
    assert source.read()[1] == 1.5


def test_a_counter_that_was_reset_is_an_error_not_a_turn_of_it(powercap, make_rapl):
    """Elsewhere a negative energy; by the plain modulo, 262 kJ in a second."""
    counter = powercap.add("intel-rapl:0", "package-0", 130 * JOULE)
    source = make_rapl()
    source.read()
    counter.write_text(str(5 * JOULE))
    with pytest.raises(MeterError, match="went back"):
        source.read()


def test_a_turn_that_takes_as_long_as_it_should_is_none(powercap, make_rapl):
    counter = powercap.add("intel-rapl:0", "package-0", MAX_UJ - 400 * JOULE)
    source = make_rapl()
    source.read()
    counter.write_text(str(300 * JOULE))  # 700 J in a second or two: a large package at full load
    assert source.read()[1] == pytest.approx(700)


def test_a_counter_at_its_greatest_value(powercap, make_rapl):
    counter = powercap.add("intel-rapl:0", "package-0", MAX_UJ - 1_000_000)
    source = make_rapl()
    source.read()
    counter.write_text(str(MAX_UJ))
    assert source.read()[1] == 1.0
    counter.write_text("999999")
    assert source.read()[1] == 2.0


def test_a_counter_beyond_its_range_wraps_without_a_turn_too_much(powercap, make_rapl):
    counter = powercap.add("intel-rapl:0", "package-0", MAX_UJ + 61)
    source = make_rapl()
    source.read()
    counter.write_text("5")
    assert source.read()[1] < 1e-4


def test_each_package_wraps_by_itself(powercap, make_rapl):
    first = powercap.add("intel-rapl:0", "package-0", 99, max_uj=99)
    second = powercap.add("intel-rapl:1", "package-1", 10)
    source = make_rapl()
    source.read()
    first.write_text("9")
    second.write_text("20")
    assert source.read()[1] == pytest.approx(20e-6)


def test_a_closed_source_starts_anew(powercap, make_rapl):
    counter = powercap.add("intel-rapl:0", "package-0", 5)
    source = make_rapl()
    source.read()
    source.close()
    counter.write_text("7000000")
    assert source.read()[1] == 0.0


def test_the_environment_names_the_folder(powercap, monkeypatch):
    counter = powercap.add("intel-rapl:0", "package-0", 5)
    monkeypatch.setenv("KDBENCH_POWERCAP", str(powercap.root))
    assert Rapl(pause=growing(counter)).available() == Available("1 package")


def test_the_platform_counts_apart_from_the_packages(powercap, make_rapl):
    package, psys = powercap.add("intel-rapl:0", "package-0"), powercap.add("intel-rapl:1", "psys")
    source = make_rapl(growing(psys), kind=RaplPsys)
    assert source.available() == Available("psys domain, the whole platform")
    source.read()
    package.write_text("9000000")
    growing(psys)(0)
    assert source.read()[1] == 1.0
