"""How threads wait is settled before torch loads, from one look at the machine, and results never depend on it."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from kdbench.machine import openmp
from kdbench.machine.openmp import OpenMPSettings, choose_openmp_settings, configure_openmp

SLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")


@pytest.fixture
def machine(monkeypatch):
    """A machine of four usable cores whose load is given, without torch; counts the looks at it."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(openmp.os, "environ", dict(os.environ))
    monkeypatch.setattr(openmp, "sys", SimpleNamespace(modules={}))
    monkeypatch.setattr(openmp, "available_cores", lambda: (0, 1, 2, 3))
    monkeypatch.setattr(openmp, "quota_cores", lambda: None)
    monkeypatch.setattr(openmp, "idle_ticks", lambda: dict.fromkeys(range(8), 0))
    state = SimpleNamespace(busy_percent=[0.0] * 8, looks=0, environ=openmp.os.environ)

    def look(seconds, *, percpu):
        assert percpu
        state.looks += 1
        return state.busy_percent

    monkeypatch.setattr(psutil, "cpu_percent", look)
    configure_openmp.cache_clear()
    yield state
    configure_openmp.cache_clear()


@pytest.mark.parametrize("others", [0.5, 1.9, 4.0])
def test_beside_other_work_threads_sleep_and_a_note_says_so(others):
    chosen = choose_openmp_settings(others, 4, None, loaded=False)
    assert chosen.variables == SLEEP
    assert f"{others:.1f} of 4 cores" in chosen.note


def test_on_an_idle_machine_threads_spin_for_less_than_a_turn_on_the_core():
    chosen = choose_openmp_settings(0.4, 4, None, loaded=False)
    assert list(chosen.variables) == ["GOMP_SPINCOUNT"]
    assert 1_000 < int(chosen.variables["GOMP_SPINCOUNT"]) < 300_000  # libgomp's own spins for milliseconds
    assert not chosen.note


@pytest.mark.parametrize(("quota", "sleeps"), [(None, False), (1.5, True), (3.9, True), (4.0, False), (64.0, False)])
def test_threads_sleep_where_spinning_would_use_up_a_quota(quota, sleeps):
    chosen = choose_openmp_settings(0.0, 4, quota, loaded=False)
    assert (dict(chosen.variables) == SLEEP) is sleeps
    assert not chosen.note


def test_only_the_cores_of_this_process_are_looked_at(machine):
    machine.busy_percent[4:] = [100.0] * 4
    assert "GOMP_SPINCOUNT" in configure_openmp().variables


def test_the_load_is_that_of_the_right_cores_where_others_are_offline(machine, monkeypatch):
    """As without SMT on machines whose hardware threads alternate."""
    monkeypatch.setattr(openmp, "available_cores", lambda: (4, 6))
    monkeypatch.setattr(openmp, "idle_ticks", lambda: dict.fromkeys((0, 2, 4, 6), 0))
    machine.busy_percent = [0.0, 0.0, 100.0, 50.0]
    assert "1.5 of 2 cores" in configure_openmp().note


def test_it_looks_once_and_sets_the_environment(machine):
    machine.busy_percent[:2] = [100.0, 50.0]
    first = configure_openmp()
    assert machine.environ.items() >= SLEEP.items()
    machine.busy_percent = [0.0] * 8
    assert configure_openmp() is first
    assert machine.looks == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("OMP_WAIT_POLICY", "active"), ("GOMP_SPINCOUNT", "7"), ("KMP_BLOCKTIME", "0"), ("OMP_NUM_THREADS", "1")],
)
def test_the_users_own_choice_stays(machine, name, value):
    machine.busy_percent = [100.0] * 8
    machine.environ[name] = value
    before = dict(machine.environ)
    assert configure_openmp() == OpenMPSettings()
    assert (machine.environ, machine.looks) == (before, 0)


def test_one_core_has_nobody_to_wait_for(machine, monkeypatch):
    monkeypatch.setattr(openmp, "available_cores", lambda: (3,))
    assert (configure_openmp(), machine.looks) == (OpenMPSettings(), 0)


def test_where_torch_was_loaded_first_the_note_says_what_helps(machine):
    machine.busy_percent = [100.0] * 8
    openmp.sys.modules["torch"] = object()
    chosen = configure_openmp()
    assert "OMP_WAIT_POLICY=passive" in chosen.note
    assert machine.environ.items() >= SLEEP.items()  # for the processes that this one starts


PROBE = """
import importlib.machinery, json, os, sys
import psutil
psutil.cpu_percent = lambda seconds, percpu: [100.0] * 64
from kdbench.machine import openmp
openmp.available_cores = lambda: (0, 1)
seen = {}
class Watch:
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "torch" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        seen["policy"] = os.environ.get("OMP_WAIT_POLICY")
        raise ModuleNotFoundError("no torch")
sys.meta_path.insert(0, Watch())
try:
    START
except (ModuleNotFoundError, SystemExit):
    pass
print(json.dumps(seen))
"""


@pytest.mark.parametrize(
    "start",
    [
        "import kdbench; kdbench.run('digits', OUT)",
        "import kdbench; kdbench.train('digits', OUT)",
        "from kdbench.cli.main import main; main(['run', 'digits', '--quiet', '--out', OUT])",
        "from kdbench.cli.main import main; main(['train', 'digits', '--quiet', '--out', OUT])",
    ],
)
def test_it_is_settled_when_torch_is_loaded_however_training_is_started(start, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    script = PROBE.replace("START", start.replace("OUT", repr(str(tmp_path / "out"))))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout.splitlines()[-1]) == {"policy": "PASSIVE"}, done.stderr
