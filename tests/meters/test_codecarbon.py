"""Joules estimated by codecarbon: a share of the CPU's rated power."""

import re
import sys

import pytest
from codecarbon import emissions_tracker
from codecarbon.core import cpu, emissions
from codecarbon.external import hardware
from meters.codecarbon_machine import joules_of

from kdbench.extras import install
from kdbench.meters.codecarbon import CodeCarbon
from kdbench.meters.meter import Available, MeterError, Unavailable


def test_cpu_time_times_the_share_of_the_power_of_a_known_model(machine):
    assert joules_of(machine) == pytest.approx(10 * 2 * 65 / 16)


def test_a_guess_of_4_watts_a_thread_for_an_unknown_model(machine):
    machine.model = "A CPU of tomorrow"
    assert joules_of(machine) == pytest.approx(10 * 2 * 4)


def test_every_socket_has_the_models_power(machine):
    machine.sockets, machine.threads = 2, 32
    assert joules_of(machine) == pytest.approx(10 * 2 * 2 * 65 / 32)


def test_rapl_is_left_to_its_own_source(machine, monkeypatch):
    monkeypatch.setattr(cpu, "is_rapl_available", lambda: True)
    assert joules_of(machine) == pytest.approx(10 * 2 * 65 / 16)


def test_a_process_that_rests_uses_nothing(machine):
    machine.load = 0.0
    assert joules_of(machine) == 0.0


@pytest.mark.parametrize("import_s", [0.0, 0.04, 0.4])
def test_joules_are_those_at_the_time_of_the_reading(machine, import_s, monkeypatch):
    def first_flush(*arguments, **named):
        machine.work(import_s)
        return make(*arguments, **named)

    make = emissions.Emissions
    monkeypatch.setattr(emissions, "Emissions", first_flush)
    source = machine.source()
    readings = [source.read()]
    for seconds in (1.0, 0.2, 5.0):
        machine.work(seconds)
        readings.append(source.read())
    source.close()
    begin_ns, begin_j = readings[0]
    for at_ns, joules in readings[1:]:
        assert joules - begin_j == pytest.approx((at_ns - begin_ns) / 1e9 * 2 * 65 / 16)


def test_a_reading_serves_for_a_tenth_of_a_second(machine):
    source = machine.source()
    first = source.read()
    machine.work(0.09)
    assert source.read() == first
    machine.work(0.011)
    assert source.read()[0] > first[0]
    source.close()


def test_a_closed_one_starts_anew(machine):
    source = machine.source()
    first = source.read()
    machine.work(10.0)
    assert source.read()[1] > first[1] + 1
    source.close()
    assert source.read()[1] == pytest.approx(first[1])
    source.close()


def test_available_says_what_is_taken_for_granted(machine):
    power = "share of the machine's CPU time × "
    state = machine.source().available()
    assert isinstance(state, Available)
    assert re.fullmatch(rf"\d+\.\d+\.\d+, {power}65 W TDP", state.detail)


def test_available_calls_a_guess_a_guess(machine):
    machine.model, machine.threads, machine.sockets = "A CPU of tomorrow", 8, 2
    assert machine.source().available().detail.endswith("64 W, a guess for an unknown CPU")


def test_a_cpu_without_a_model_is_not_estimated(machine):
    machine.model = ""
    state = machine.source().available()
    assert isinstance(state, Unavailable)
    assert "model is unknown" in state.reason


def test_an_estimate_that_stands_still_measures_nothing(machine):
    machine.load = 0.0
    state = machine.source().available()
    assert isinstance(state, Unavailable)
    assert "does not advance" in state.reason


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    assert CodeCarbon().available() == Unavailable("codecarbon: not installed", install("estimate"))


def test_a_measurement_that_fails_is_an_error_and_no_standstill(machine, monkeypatch):
    def fail(self, last_duration):
        raise OSError("no such counter")

    source = machine.source()
    source.read()
    monkeypatch.setattr(hardware.CPU, "measure_power_and_energy", fail)
    machine.work(1.0)
    with pytest.raises(MeterError, match="codecarbon: OSError: no such counter"):
        source.read()
    source.close()


def test_a_start_that_fails_says_why(machine, monkeypatch):
    def fail():
        raise FileNotFoundError("scontrol")

    monkeypatch.setattr(emissions_tracker, "count_cpus", fail)
    state = machine.source().available()
    assert isinstance(state, Unavailable)
    assert state.reason == "codecarbon: FileNotFoundError: scontrol"


def test_a_constructor_that_fails_says_why(machine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".codecarbon.config").write_text("no section\n")
    state = machine.source().available()
    assert isinstance(state, Unavailable)
    assert "MissingSectionHeaderError" in state.reason
    assert ".codecarbon.config" in state.hint
