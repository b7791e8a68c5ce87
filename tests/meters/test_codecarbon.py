import inspect
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest
from codecarbon import OfflineEmissionsTracker, emissions_tracker
from codecarbon.core import cpu, emissions, hardware_cache, util
from codecarbon.external import hardware

from kdbench.extras import install
from kdbench.meters import codecarbon as module
from kdbench.meters.codecarbon import CodeCarbon, compute, settings
from kdbench.meters.meter import Available, MeterError, Unavailable

RYZEN = "AMD Ryzen 7 3700X"  # 65 W in the maker's specification
# What `output_methods` and `electricitymaps_api_token` replaced: given, they warn.
DEPRECATED = {
    "co2_signal_api_token",
    *(f"save_to_{what}" for what in ("file", "api", "logger", "prometheus", "logfire")),
}


class Machine:
    """What codecarbon sees: a clock, this process's CPU time, and the CPU's model, threads and sockets."""

    def __init__(self):
        self.seconds = 1000.0
        self.cpu_s = 5.0
        self.load = 2.0  # cores at work while time passes
        self.model = RYZEN
        self.threads = 16
        self.sockets = 1

    def now(self):
        self.seconds += 1e-9  # it divides by the time since its start
        return self.seconds

    def work(self, seconds):
        self.seconds += seconds
        self.cpu_s += self.load * seconds

    def source(self):
        return CodeCarbon(clock=lambda: round(self.now() * 1e9), pause=self.work)


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    for place in (hardware, emissions_tracker):
        monkeypatch.setattr(place, "time", SimpleNamespace(time=made.now, perf_counter=made.now))
    monkeypatch.setattr(psutil.Process, "cpu_times", lambda self: SimpleNamespace(user=made.cpu_s, system=0.0))
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [])
    monkeypatch.setattr(cpu, "detect_cpu_model", lambda: made.model)
    for place in (cpu, hardware, emissions_tracker, util):
        monkeypatch.setattr(place, "count_cpus", lambda: made.threads)
    for place in (emissions_tracker, util):
        monkeypatch.setattr(place, "count_physical_cpus", lambda: made.sockets)
    hardware_cache.clear_cache()
    yield made
    hardware_cache.clear_cache()


def joules_of(machine, seconds=10.0):
    """Return the estimate of so many seconds of work."""
    source = machine.source()
    _, before = source.read()
    machine.work(seconds)
    _, after = source.read()
    source.close()
    return after - before


def test_the_current_folder_is_on_the_path_of_nothing_that_codecarbon_starts(machine, monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setenv("PYTHONPATH", f"{os.sep}lib{os.pathsep}")  # an empty entry is the current folder
    seen = {}

    def noted(owner, name):
        original = getattr(owner, name)

        def call(*args, **kwargs):
            seen[name] = os.environ.get("PYTHONSAFEPATH"), os.environ["PYTHONPATH"]
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for owner, name in (
        (cpu, "TDP"),
        *((OfflineEmissionsTracker, one) for one in ("__init__", "start", "flush", "stop")),
    ):
        noted(owner, name)
    assert isinstance(machine.source().available(), Available)
    assert seen == dict.fromkeys(("TDP", "__init__", "start", "flush", "stop"), ("1", f"{os.sep}lib"))
    assert os.environ["PYTHONPATH"] == f"{os.sep}lib{os.pathsep}"


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


def test_every_argument_of_the_tracker_is_given():
    known = set()
    for kind in OfflineEmissionsTracker.__mro__[:2]:
        parameters = inspect.signature(kind.__init__).parameters.values()
        known |= {p.name for p in parameters if p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}}
    assert set(settings([])) == known - DEPRECATED - {"self"}


def test_neither_the_environment_nor_a_file_changes_anything(machine, tmp_path, monkeypatch):
    expected = joules_of(machine)
    hardware_cache.clear_cache()
    foreign = {
        "pue": "2",
        "force_cpu_power": "1000",
        "force_mode_cpu_load": "false",
        "tracking_mode": "machine",
        "measure_power_secs": "1",
        "api_call_interval": "1",
        "output_methods": "csv,logger",
        "save_to_file": "true",
        "emissions_endpoint": "http://localhost:1",
        "co2_signal_api_token": "token",
        "electricitymaps_api_token": "token",
        "country_iso_code": "nowhere",
        "log_level": "debug",
        "allow_multiple_runs": "false",
    }
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home, here):
        folder.mkdir()
        lines = [f"{key}={value}" for key, value in foreign.items()]
        (folder / ".codecarbon.config").write_text("\n".join(["[codecarbon]", *lines]))
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    for key, value in foreign.items():
        monkeypatch.setenv(f"CODECARBON_{key.upper()}", value)
    assert joules_of(machine) == pytest.approx(expected)
    assert [file.name for file in here.iterdir()] == [".codecarbon.config"]


@pytest.fixture
def any_cpu(monkeypatch):
    """Give this machine's CPU a name, wherever the tests run; all else is as it is."""
    hardware_cache.clear_cache()
    monkeypatch.setattr(cpu, "detect_cpu_model", lambda: "A CPU of tomorrow")
    yield
    hardware_cache.clear_cache()


@pytest.mark.usefixtures("any_cpu")
def test_on_this_machine_it_counts_and_leaves_no_trace(tmp_path, monkeypatch, capfd):
    calls = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: calls.append(address))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CODECARBON_LOG_LEVEL", "debug")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    filters = list(logging.getLogger("codecarbon").filters)
    assert isinstance(CodeCarbon().available(), Available)
    assert calls == []
    assert list(tmp_path.iterdir()) == []
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert logging.getLogger("codecarbon").filters == filters
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("any_cpu")
def test_no_thread_samples_in_the_background():
    before = set(threading.enumerate())
    source = CodeCarbon()
    source.read()
    # Those that were told to end may still be about to.
    for thread in set(threading.enumerate()) - before:
        if thread.interval < 3600:
            thread.join(5)
    asleep = set(threading.enumerate()) - before
    assert all(thread.interval > 3600 for thread in asleep)
    source.close()
    for thread in asleep:
        thread.join(5)
    assert set(threading.enumerate()) <= before


def test_computing_takes_cpu_time():
    before = time.thread_time()
    compute(0.01)
    assert time.thread_time() - before >= 0.01


def test_codecarbon_is_imported_by_the_first_reading_alone():
    code = f"import sys; import {module.__name__}; sys.exit('codecarbon' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_the_tracker_that_looks_up_where_it_is_has_no_part_in_it():
    assert not re.search(r"(?<!Offline)EmissionsTracker", inspect.getsource(module))
