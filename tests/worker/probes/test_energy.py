"""The energy probe in this process, with counters of known power put in the place of the machine's."""

import time
from dataclasses import replace

import pytest

from kdbench.measure.staging import stage
from kdbench.meters.meter import METERS, MeterError
from kdbench.worker.jobs import EnergyJob
from kdbench.worker.probes import energy


class Steps:
    """A counter of constant power that moves once a millisecond."""

    name, scope, evidence, stepped, lag_s = "steps", "test", "measured", True, 0.0
    power_w = 30.0
    closed = 0

    def read(self):
        now = time.monotonic_ns()
        return now, now // 1_000_000 * self.power_w / 1e3

    def close(self):
        type(self).closed += 1


class Beside(Steps):
    name, scope, power_w = "beside", "other", 7.0


class Breaks(Steps):
    name = "breaks"
    reads = 0

    def read(self):
        type(self).reads += 1
        if self.reads > 200:
            raise MeterError("NVML: GPU is lost")
        return super().read()


class Listener:
    def __init__(self):
        self.models, self.steps = [], []

    def model(self, id_):
        self.models.append(id_)

    def step(self, done, total):
        self.steps.append((done, total))


@pytest.fixture
def job(tiny, bench_model, test_set, tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "_WARM_UP_NS", 1_000_000)
    METERS.names()
    for counter in (Steps, Beside, Breaks):
        monkeypatch.setitem(METERS._entries, counter.name, counter)
    bench_models = [bench_model(tiny("a")), bench_model(tiny("broken", op="Unheard")), bench_model(tiny("c", batch=5))]
    models = stage(bench_models, test_set, tmp_path, 0)
    return EnergyJob(
        models=tuple(models[s.id] for s in bench_models),
        runs=(("a", 1), ("a", 8), ("broken", 1), ("c", 5)),
        provider="cpu",
        threads=1,
        sources=("steps", "beside"),
        rounds=3,
        least_ns=20_000_000,
        least_updates=10,
        settle_ns=0,
    )


def test_windows_of_every_run_whose_model_runs(job):
    listener = Listener()
    result = energy.run(job, listener)
    assert listener.models == ["a", "a", "broken", "c"]
    assert listener.steps[-1] == (9, 9)
    assert list(result["errors"]) == ["broken"]
    assert [len(windows) for windows in result["windows"]] == [3, 3, 0, 3]
    assert result["fault"] is None
    assert len(result["idle"]) == 4  # before the three rounds, and after each
    assert (result["sources"], result["dropped"]) == (["steps", "beside"], {})
    assert result["length_ns"] == max(20_000_000, 10 * result["period_ns"][0])
    for window in (*result["idle"], *(window for windows in result["windows"] for window in windows)):
        assert window["calls"] > 0
        for (energy_j, duration_ns), counter in zip(window["spans"], (Steps, Beside), strict=True):
            # Both ends stand on an edge, so the power comes out but for how late each edge was seen.
            expected = counter.power_w * round(duration_ns / 1e6) / 1e3
            assert energy_j == pytest.approx(expected, abs=2 * counter.power_w / 1e3)


def test_rounds_take_turns_in_both_directions(job, monkeypatch):
    """So that a drift over the rounds is the same for the first model as for the last."""
    order = []
    inner = energy.window

    def noting(counters, call, *rest, **how):
        order.append(call)
        return inner(counters, call, *rest, **how)

    monkeypatch.setattr(energy, "window", noting)
    energy.run(job, Listener())
    idle = order[0]
    assert [number for number, call in enumerate(order) if call is idle] == [0, 4, 8, 12]
    first, second, third = order[1:4], order[5:8], order[9:12]
    assert first == second[::-1] == third


def test_a_source_beside_that_gives_out_is_left_out(job):
    Breaks.reads = Breaks.closed = 0
    result = energy.run(replace(job, sources=("steps", "breaks")), Listener())
    assert (result["sources"], result["dropped"]) == (["steps"], {"breaks": "NVML: GPU is lost"})
    assert result["fault"] is None
    assert [len(windows) for windows in result["windows"]] == [3, 3, 0, 3]
    assert {len(window["spans"]) for windows in result["windows"] for window in windows} == {1}
    assert Breaks.closed == 1


def test_threads_do_not_spin(job, monkeypatch):
    spinning = []
    inner = energy.LoadedModel
    monkeypatch.setattr(
        energy, "LoadedModel", lambda *args, **how: spinning.append(how["spinning"]) or inner(*args, **how)
    )
    energy.run(job, Listener())
    assert set(spinning) == {False}


def test_a_leading_source_that_gives_out_spoils_the_whole_process(job):
    Breaks.reads = Breaks.closed = 0
    result = energy.run(replace(job, sources=("breaks",)), Listener())
    assert result["fault"] == "NVML: GPU is lost"
    assert "windows" not in result
    assert Breaks.closed == 1
