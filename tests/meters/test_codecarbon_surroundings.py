"""What codecarbon is started with, and what it leaves behind: neither settings, threads nor files."""

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

import pytest
from codecarbon import OfflineEmissionsTracker
from codecarbon.core import cpu, hardware_cache
from meters.codecarbon_machine import joules_of

from kdbench.meters import codecarbon as module
from kdbench.meters.codecarbon import CodeCarbon, compute, settings
from kdbench.meters.meter import Available

# What `output_methods` and `electricitymaps_api_token` replaced: given, they warn.
DEPRECATED = {
    "co2_signal_api_token",
    *(f"save_to_{what}" for what in ("file", "api", "logger", "prometheus", "logfire")),
}


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
