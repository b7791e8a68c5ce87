"""What the energy pass finds on a machine with these meters, without a measuring process."""

import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.measure import runner
from kdbench.measure.energy import rounds as energy_pass
from kdbench.measure.energy.rounds import expected_s, sources_for
from kdbench.measure.passes.energy import EnergyPass
from kdbench.meters.choice import Choice
from kdbench.meters.codecarbon import CodeCarbon
from kdbench.meters.meter import Available, MeterStatus, Unavailable
from kdbench.meters.nvml import Nvml
from kdbench.meters.rapl import Rapl
from kdbench.recipe.tables.measure import Measure
from kdbench.statistics.few_sessions import RESOLUTION
from kdbench.worker.process import WorkerError


@pytest.fixture
def bench_models(tiny, bench_model):
    return [bench_model(tiny("t")), bench_model(tiny("s"), teacher="t")]


@pytest.fixture
def energy(bench_models, run_pass):
    def run(**settings):
        config = Measure(**{"batch": (8,), **settings})
        return run_pass(EnergyPass(), bench_models, config=config, meters=sources_for(config))

    return run


def reading(watts, *scale, seconds=1.0, calls=100):
    """Return windows of one run as the probe leaves them: of each source in `watts`, times each of `scale`."""
    return [
        {"calls": calls, "spans": [(power * seconds * factor, int(seconds * 1e9)) for power in watts]}
        for factor in scale or (1.0, 1.01, 0.99, 1.0, 1.0)
    ]


@pytest.fixture
def machine(monkeypatch):
    """A machine with these counters, whose measuring process says `result`; what it was told is in `jobs`."""
    jobs = []

    def install(*counters, **result):
        leading, *beside = (MeterStatus(counter, Available("1 package")) for counter in counters)
        monkeypatch.setattr(energy_pass, "choose", lambda provider, *, estimate: Choice(leading, tuple(beside)))
        ones = [1.0] * len(counters)
        whole = {
            "period_ns": [1e6] * len(counters),
            "length_ns": 1e9,
            "idle": reading([10 * one for one in ones], 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
            "sources": [counter.name for counter in counters],
            "dropped": {},
            "errors": {},
            "fault": None,
            **result,
        }
        monkeypatch.setattr(runner, "run_job", lambda job, *_, **__: jobs.append(job) or whole)
        return jobs

    return install


def values(findings):
    return {(m.model, m.metric, m.axes["batch"]): m.value for m in findings.measurements if "scope" not in m.axes}


def test_without_a_source_every_value_has_its_reason(energy, monkeypatch):
    monkeypatch.setattr(
        energy_pass, "choose", lambda *_, **__: Choice(Unavailable("RAPL: permission denied", "be root"))
    )
    results = energy()
    assert {(m.status, m.reason, m.hint, m.value) for m in results.measurements} == {
        ("unavailable", "RAPL: permission denied", "be root", None)
    }
    assert {(m.model, m.metric, m.axes["batch"]) for m in results.measurements} == {
        (id_, metric, batch)
        for id_ in "ts"
        for metric in ("energy_j", "energy_net_j", "energy_run_j")
        for batch in (1, 8)
    }
    assert results.pairs == ()


def test_energy_that_was_not_requested(energy):
    assert {m.reason for m in energy(energy="off").measurements} == {"energy is switched off"}


def test_per_inference_and_per_run(energy, machine):
    machine(Rapl(), windows=[reading([60]), reading([80]), reading([20]), reading([40])])
    results = values(energy())
    assert results["t", "energy_j", 1] == pytest.approx(0.6)
    assert results["t", "energy_run_j", 1] == pytest.approx(0.6)
    assert results["t", "energy_run_j", 8] == pytest.approx(0.8)
    assert results["t", "energy_j", 8] == pytest.approx(0.1)
    assert results["s", "energy_net_j", 8] == pytest.approx((0.4 - 0.1) / 8)


def test_the_ratio_is_of_the_same_rounds(energy, machine):
    drift = [1.0, 1.1, 1.2, 1.3, 1.4]  # of the machine: it must not show in the ratio
    machine(Rapl(), windows=[reading([60], *drift), reading([60]), reading([20], *drift), reading([30])])
    by_batch = {pair.axes["batch"]: pair for pair in energy().pairs}
    assert by_batch[1].value == pytest.approx(3)
    assert by_batch[1].interval.high / by_batch[1].interval.low == pytest.approx(
        np.exp(2 * 1.96 * RESOLUTION), rel=0.01
    )
    assert (by_batch[1].status, by_batch[1].reason) == ("unstable", "t: windows differ by 13.2 %")
    assert by_batch[8].value == pytest.approx(2, rel=0.01)
    assert (by_batch[8].status, by_batch[8].evidence) == ("ok", "measured")


def test_full_and_quick_windows(energy, machine):
    jobs = machine(Rapl(), windows=[reading([60])] * 4)
    quick, full = (energy(energy=mode) for mode in ("quick", "full"))
    assert (jobs[0].least_ns, jobs[0].least_updates, jobs[0].rounds) == (5e8, 20, 5)
    assert (jobs[1].least_ns, jobs[1].least_updates, jobs[1].rounds) == (1e10, 100, 5)
    assert (jobs[0].settle_ns, jobs[1].settle_ns) == (1e8, 1e9)
    widths = [m.measurements[0].interval.high - m.measurements[0].interval.low for m in (quick, full)]
    assert widths[0] > 2 * widths[1]
    assert full.protocol["energy_pass"] == {
        "mode": "full",
        "windows": 5,
        "window_s": 1.0,
        "resolution": 0.0,
        "sources": [
            {
                "name": "rapl",
                "scope": "cpu.package",
                "detail": "1 package",
                "evidence": "measured",
                "update_period_ms": 1.0,
                "idle_w": [10.0] * 6,
            }
        ],
    }


def test_a_gpu_leads_and_the_processor_stands_beside_it(energy, machine):
    machine(Nvml(), Rapl(), windows=[reading([200, 30])] * 4)
    results = energy(provider="cuda")
    per_scope = {
        m.axes.get("scope"): m for m in results.measurements if m.metric == "energy_j" and m.axes["batch"] == 1
    }
    assert {scope: m.value for scope, m in per_scope.items() if m.model == "s"} == pytest.approx(
        {None: 2.0, "cpu.package": 0.3, "gpu0.board + cpu.package": 2.3}
    )
    assert per_scope[None].source == "nvml, gpu0.board"
    assert per_scope["gpu0.board + cpu.package"].source == "nvml, gpu0.board; rapl, cpu.package"
    assert {"s/cuda-t1-b8-energy/calls", "s/cuda-t1-b8-energy/nvml-j", "s/cuda-t1-b8-energy/rapl-ns"} <= set(
        results.samples
    )


def test_an_estimate_is_labelled_everywhere_and_claims_no_interval(energy, machine):
    machine(CodeCarbon(), windows=[reading([60])] * 4)
    results = energy(estimate_energy=True, country="DEU")
    assert {(m.evidence, m.interval) for m in results.measurements} == {("estimated", None)}
    assert {(m.metric, m.reason) for m in results.measurements if m.value is None} == {
        ("energy_net_j", "an estimate has no idle power")
    }
    assert {(p.evidence, p.interval) for p in results.pairs} == {("estimated", None)}


def test_grams_of_co2_are_modelled_from_measured_joules(energy, machine):
    machine(Rapl(), windows=[reading([60])] * 4)
    results = energy(country="deu")
    by_metric = {m.metric: m for m in results.measurements if m.model == "s" and m.axes["batch"] == 1}
    g_per_kwh = results.protocol["carbon"]["g_per_kwh"]
    assert by_metric["co2_g"].value == pytest.approx(by_metric["energy_j"].value / 3.6e6 * g_per_kwh)
    assert by_metric["co2_g"].evidence == "modelled"
    assert by_metric["co2_g"].interval.high > by_metric["co2_g"].value
    assert "Germany" in by_metric["co2_g"].source


def test_a_country_that_is_none_is_refused(energy):
    with pytest.raises(InputError, match="XYZ"):
        energy(country="XYZ")


def test_net_below_its_resolution_has_no_number(energy, machine):
    machine(Rapl(), windows=[reading([10.01])] * 4)
    results = {m.metric: m for m in energy().measurements if m.model == "s"}
    assert (results["energy_net_j"].status, results["energy_net_j"].value) == ("below_resolution", None)
    assert results["energy_j"].status == "ok"


def test_a_model_that_failed_a_source_that_gave_out_and_a_process_that_died(energy, machine, monkeypatch):
    machine(Rapl(), windows=[[], [], reading([60]), reading([60])], errors={"t": "no such operator"})
    results = energy()
    assert {(m.model, m.status, m.reason) for m in results.measurements} == {
        ("t", "error", "no such operator"),
        ("s", "ok", None),
    }
    assert {(p.status, p.reason) for p in results.pairs} == {("unavailable", "t failed: no such operator")}
    machine(Rapl(), fault="RAPL: unreadable")
    assert {(m.status, m.reason) for m in energy().measurements} == {("error", "RAPL: unreadable")}

    def dies(*_, **__):
        raise WorkerError("gone", "", None)

    monkeypatch.setattr(runner, "run_job", dies)
    assert {(m.status, m.reason) for m in energy().measurements} == {("error", "gone")}


def test_how_long_the_pass_will_take(bench_models, machine):
    machine(Rapl())
    quick, full = Measure(batch=(8,)), Measure(batch=(8,), energy="full")
    assert expected_s(bench_models, quick, sources_for(quick)) == pytest.approx(26 * 0.6)
    assert expected_s(bench_models, full, sources_for(full)) == pytest.approx(26 * 11)
    assert expected_s(bench_models, quick, sources_for(Measure(energy="off"))) == 0


def test_a_source_beside_that_gave_out_is_left_out_and_named(energy, machine):
    machine(Nvml(), Rapl(), windows=[reading([200])] * 4, sources=["nvml"], dropped={"rapl": "RAPL: unreadable"})
    results = energy(provider="cuda")
    assert {m.axes.get("scope") for m in results.measurements} == {None}
    assert results.protocol["energy_pass"]["uncounted"] == ["RAPL: unreadable"]
    assert [source["name"] for source in results.protocol["energy_pass"]["sources"]] == ["nvml"]


def test_an_estimate_is_admitted_only_if_requested(monkeypatch):
    requested = []
    monkeypatch.setattr(energy_pass, "choose", lambda provider, *, estimate: requested.append((provider, estimate)))
    for config in (Measure(), Measure(provider="cuda", estimate_energy=True)):
        sources_for(config)
    assert requested == [("cpu", False), ("cuda", True)]


def test_the_interval_is_divided_like_the_value(energy, machine):
    machine(Rapl(), windows=[reading([60])] * 4)
    at_8 = {m.metric: m for m in energy().measurements if m.model == "s" and m.axes["batch"] == 8}
    inference, run = at_8["energy_j"], at_8["energy_run_j"]
    assert run.value == pytest.approx(8 * inference.value)
    assert run.interval.high - run.value == pytest.approx(8 * (inference.interval.high - inference.value))


@pytest.mark.parametrize("lost", [0, 1])
def test_a_ratio_needs_both_energies(energy, machine, lost):
    """One in whose windows the counter moved once, if at all, has no place above or below the line."""
    coarse = reading([60], seconds=1e-4, calls=1)
    windows = [coarse if number == lost else reading([60]) for number in (0, 0, 1, 1)]
    machine(Rapl(), windows=windows)
    assert {(p.status, p.reason) for p in energy().pairs} == {
        ("below_resolution", "an energy is within its uncertainty of 0")
    }


def test_what_is_unstable_in_joules_is_so_in_grams(energy, machine):
    machine(Rapl(), windows=[reading([60], 1.0, 1.1, 0.9, 1.05, 0.95)] * 4)
    results = {m.metric: m for m in energy(country="FRA").measurements if m.model == "s"}
    assert results["energy_j"].status == results["co2_g"].status == "unstable"
    assert results["co2_g"].reason == results["energy_j"].reason
