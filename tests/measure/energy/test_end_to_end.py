"""The whole pass in its own process, on a powercap folder whose counter follows a known power.

The thread that moves the counter may be kept from its core: nothing here depends on how late it is. Joules are compared
with a fake clock in `tests/worker/test_energy_window.py`.
"""

import os
import threading
import time

import numpy as np
import pytest

from kdbench.measure.energy import rounds
from kdbench.measure.energy.rounds import sources_for
from kdbench.measure.energy.training import EpochMeter
from kdbench.measure.energy.windows import Mode
from kdbench.measure.passes.energy import EnergyPass
from kdbench.recipe.tables.measure import Measure

pytestmark = pytest.mark.serial

POWER_W = 25.0
MAX_UJ = 262_143_328_850


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A processor's package that always draws POWER_W, and whose counter overflows meanwhile."""
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text(f"{MAX_UJ}\n")
    file = os.open(zone / "energy_uj", os.O_WRONLY | os.O_CREAT)
    begun_ns, ended = time.monotonic_ns(), threading.Event()

    def update():
        used = int((time.monotonic_ns() - begun_ns) / 1e3 * POWER_W)
        os.pwrite(file, b"%-14d\n" % ((MAX_UJ - 20_000_000 + used) % (MAX_UJ + 1)), 0)

    def keep_updating():
        while not ended.wait(0.001):
            update()

    update()
    thread = threading.Thread(target=keep_updating, daemon=True)
    thread.start()
    monkeypatch.setenv("KDBENCH_POWERCAP", str(zone.parent))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    yield begun_ns
    ended.set()
    thread.join()
    os.close(file)


def test_energy_times_rate_is_the_power(package, tiny, bench_model, test_set, context, monkeypatch):
    monkeypatch.setitem(rounds.MODES, "quick", Mode(3, 0.1, 20, 0.0, 0.025))
    bench_models = [bench_model(tiny("t")), bench_model(tiny("s", seed=1), teacher="t")]
    config = Measure(batch=(4,))
    result = EnergyPass().run(context(bench_models, test_set, config=config, meters=sources_for(config)))
    for m in result.measurements:
        assert m.status in {"ok", "unstable", "below_resolution"}, m.reason
        if m.metric != "energy_run_j" or m.value is None:  # a loaded machine's windows may be too far apart
            continue
        key = f"{m.model}/cpu-t1-b{m.axes['batch']}-energy"
        calls, joules, ns = (result.samples[f"{key}/{name}"] for name in ("calls", "rapl-j", "rapl-ns"))
        assert np.median(joules / calls) == pytest.approx(m.value)
        assert POWER_W / 10 < np.median(joules / (ns / 1e9)) < POWER_W * 10  # the units are right
    assert {m.source for m in result.measurements} == {"rapl, cpu.package"}
    assert {(p.teacher, p.student, p.axes["batch"]) for p in result.pairs} == {("t", "s", 1), ("t", "s", 4)}


def test_a_training_is_metered_over_a_turn_of_the_counter(package):
    """At 25 W the counter, 20 J before its end when it was made, turns over within a second."""
    with EpochMeter("cpu", estimate=False) as meter:
        before = meter.read()["rapl, cpu.package"]
        used = 0.0
        while used < 30.0:
            used = meter.read()["rapl, cpu.package"] - before
    assert used <= POWER_W * (time.monotonic_ns() - package) / 1e9  # all that it ever drew
