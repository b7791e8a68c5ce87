import numpy as np
import pytest

from kdbench.measure import runner
from kdbench.measure.passes import cold_start
from kdbench.measure.passes.cold_start import PROCESSES, ColdStartPass

METRICS = ("load_ns", "first_run_ns", "steady_run_ns")


@pytest.fixture(autouse=True)
def _all_processes(monkeypatch):
    monkeypatch.setattr(cold_start, "PROCESSES", PROCESSES)


@pytest.fixture
def cold(run_pass):
    return lambda *models, **config: run_pass(ColdStartPass(), models, **config)


def answer(monkeypatch, *load):
    """Let the processes return these load times in turn."""
    times = iter(load)
    rest = {"first_run_ns": 5.0, "steady_run_ns": 2.0, "import_ns": 7.0, "errors": {}}
    monkeypatch.setattr(runner, "run_job", lambda *_, **__: {"load_ns": next(times), **rest})


def test_three_numbers_of_real_processes(tiny, bench_model, cold, monkeypatch):
    monkeypatch.setattr(cold_start, "PROCESSES", 1)
    findings = cold(bench_model(tiny(), data=False))
    load, first, steady = (m.value for m in findings.measurements)
    assert [m.metric for m in findings.measurements] == list(METRICS)
    assert load > first > steady > 0
    assert findings.protocol["runtime_import_ns"] > steady


def test_the_median_and_the_extremes_that_hold_it(tiny, bench_model, cold, monkeypatch):
    answer(monkeypatch, 12.0, 10.0, 11.0, 90.0, 13.0, 14.0)
    findings = cold(bench_model(tiny(), data=False), threads=(2, 1))
    load = findings.measurements[0]
    assert (load.value, load.within_run.low, load.within_run.high, load.n) == (12.5, 10.0, 90.0, PROCESSES)
    assert load.interval.low < 10.0
    assert load.interval.high > 90.0
    assert load.axes == {"provider": "cpu", "threads": 2, "batch": 1}
    assert "page cache" in load.source
    assert findings.protocol == {"cold_start_processes": 6, "runtime_import_ns": 7.0}


def test_models_that_differ_in_their_weights_alone_share_the_processes(tiny, bench_model, cold, monkeypatch):
    answer(monkeypatch, 12.0, 10.0, 11.0, 90.0, 13.0, 14.0)
    findings = cold(*(bench_model(tiny(f"s{seed}", seed=seed), data=False) for seed in (1, 2)))
    loads = [m for m in findings.measurements if m.metric == "load_ns"]
    assert [(m.model, m.value, m.within_run.low, m.within_run.high, m.n) for m in loads] == [
        ("s1", 12.5, 10.0, 90.0, PROCESSES),
        ("s2", 12.5, 10.0, 90.0, PROCESSES),
    ]
    assert loads[0].source.endswith("shared with s2 of the same graph")


def test_a_fixed_batch_is_the_models_own(tiny, bench_model, cold, monkeypatch):
    answer(monkeypatch, *np.ones(PROCESSES))
    assert {m.axes["batch"] for m in cold(bench_model(tiny(batch=4), data=False)).measurements} == {4}


def test_what_cannot_be_loaded_says_so_and_tells_no_import(tiny, bench_model, cold):
    findings = cold(bench_model(tiny(op="Unheard"), data=False))
    assert {m.metric for m in findings.measurements} == set(METRICS)
    assert all(m.status == "error" and "Unheard" in m.reason for m in findings.measurements)
    assert not findings.protocol
