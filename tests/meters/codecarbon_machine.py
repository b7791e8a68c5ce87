"""What codecarbon sees of a machine."""

from types import SimpleNamespace

import psutil
from codecarbon import emissions_tracker
from codecarbon.core import cpu, hardware_cache, util
from codecarbon.external import hardware

from kdbench.meters.codecarbon import CodeCarbon

RYZEN = "AMD Ryzen 7 3700X"  # 65 W in the maker's specification


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


def joules_of(machine, seconds=10.0):
    """Return the estimate of so many seconds of work."""
    source = machine.source()
    _, before = source.read()
    machine.work(seconds)
    _, after = source.read()
    source.close()
    return after - before


def shown(machine, monkeypatch):
    """Yield the machine while codecarbon sees it in the place of this one."""
    for place in (hardware, emissions_tracker):
        monkeypatch.setattr(place, "time", SimpleNamespace(time=machine.now, perf_counter=machine.now))
    monkeypatch.setattr(psutil.Process, "cpu_times", lambda self: SimpleNamespace(user=machine.cpu_s, system=0.0))
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [])
    monkeypatch.setattr(cpu, "detect_cpu_model", lambda: machine.model)
    for place in (cpu, hardware, emissions_tracker, util):
        monkeypatch.setattr(place, "count_cpus", lambda: machine.threads)
    for place in (emissions_tracker, util):
        monkeypatch.setattr(place, "count_physical_cpus", lambda: machine.sockets)
    hardware_cache.clear_cache()
    yield machine
    hardware_cache.clear_cache()
