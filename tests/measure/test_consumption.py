import dataclasses

import numpy as np
import pytest

from kdbench.measure import consumption
from kdbench.measure.consumption import Windows, energy_findings, per_inference
from kdbench.measure.energy import Available, Found, Unavailable
from kdbench.measure.energy.rapl import Rapl
from kdbench.measure.process import WorkerError
from kdbench.measure.protocol import Portion, Protocol
from kdbench.statistics.few_sessions import RESOLUTION

AXES = {"provider": "cpu", "threads": 1, "batch": 1}
# Five windows of 1 s at 60 W, 1000 calls each: 60 mJ gross, of which 20 W idle are 20 mJ.
STEADY = Windows(
    energy_j=np.array([60.0, 60.1, 59.9, 60.2, 59.8]),
    duration_s=np.ones(5),
    calls=np.full(5, 1000.0),
    period_s=0.001,
    idle_w=20.0,
    idle_drift=0.01,
)


def values(windows):
    return {m.metric: m for m in per_inference("m", windows, AXES, "rapl, cpu.package")}


def test_gross_and_net():
    found = values(STEADY)
    assert found["energy_j"].value == pytest.approx(0.060)
    assert found["energy_net_j"].value == pytest.approx(0.040)
    assert found["energy_j"].interval.low < 0.060 < found["energy_j"].interval.high
    assert {m.evidence for m in found.values()} == {"measured"}


def test_a_batch_is_shared_by_its_inferences():
    (gross, _) = per_inference("m", STEADY, AXES, "rapl", batch=10)
    assert gross.value == pytest.approx(0.006)


def test_idle_power_that_drifts_makes_net_unstable_and_wider():
    drifting = values(dataclasses.replace(STEADY, idle_drift=0.2))
    assert drifting["energy_net_j"].status == "unstable"
    assert drifting["energy_j"].status == "ok"
    widths = [v["energy_net_j"].interval.high - v["energy_net_j"].interval.low for v in (drifting, values(STEADY))]
    assert widths[0] > 2 * widths[1]


def test_net_that_cannot_be_told_from_idle():
    found = values(dataclasses.replace(STEADY, idle_w=59.9))
    assert (found["energy_net_j"].status, found["energy_net_j"].value) == ("below_resolution", None)
    assert found["energy_j"].status == "ok"


def test_coarse_counters_widen_the_interval():
    coarse = values(dataclasses.replace(STEADY, period_s=0.1))["energy_j"].interval
    # A period of the power, evenly distributed: 60 W x 0.1 s / sqrt(3) / 1000 calls, twice on either side.
    assert (coarse.high - coarse.low) / 2 > 2 * 60 * 0.1 / np.sqrt(3) / 1000


@pytest.fixture
def energy(tiny, subject, tmp_path, watcher):
    subjects = [subject(tiny("t")), subject(tiny("s"), teacher="t")]

    def run(**protocol):
        from kdbench.measure.staging import stage

        models = stage(subjects, None, tmp_path, 0)
        portion = Portion(watcher, 0, 1, "energy")
        return energy_findings(subjects, models, Protocol(**protocol), tmp_path, portion)

    return run


@pytest.fixture
def usable(monkeypatch):
    monkeypatch.setattr(consumption, "sources", lambda provider: [Found(Rapl(), Available("1 CPU packages"))])


def test_without_a_source_every_value_has_its_reason(energy, monkeypatch):
    monkeypatch.setattr(consumption, "sources", lambda provider: [Found(Rapl(), Unavailable("RAPL: none", "hint"))])
    findings = energy()
    assert {(m.metric, m.status, m.reason, m.hint) for m in findings.measurements} == {
        (metric, "unavailable", "RAPL: none", "hint") for metric in ("energy_j", "energy_net_j")
    }
    assert len(findings.measurements) == 4


def test_energy_that_was_not_asked_for(energy):
    assert {m.reason for m in energy(energy=False).measurements} == {"energy was not asked for"}


def test_measurements_and_the_ratio_of_the_same_rounds(energy, usable, monkeypatch):
    def taken(watts, drift):
        return [{"energy_j": watts * d, "duration_ns": 10**9, "calls": 100} for d in drift]

    drift = [1.0, 1.1, 1.2, 1.3, 1.4]  # of the machine: it must not show in the ratio
    monkeypatch.setattr(
        consumption,
        "run_job",
        lambda *_, **__: {
            "period_ns": 1e6,
            "idle": [{"energy_j": 10.0, "duration_ns": 10**9, "calls": 1}] * 2,
            "windows": {"t": taken(60, drift), "s": taken(20, drift)},
            "errors": {},
        },
    )
    findings = energy()
    assert {(m.model, m.metric): m.value for m in findings.measurements}["t", "energy_j"] == pytest.approx(0.72)
    (ratio,) = findings.pairs
    assert ratio.value == pytest.approx(3)
    assert ratio.interval.high / ratio.interval.low == pytest.approx(np.exp(2 * 1.96 * RESOLUTION), rel=1e-5)


class Guess(Rapl):
    evidence = "estimated"


def test_what_an_estimating_source_says_is_an_estimate(energy, monkeypatch):
    monkeypatch.setattr(consumption, "sources", lambda provider: [Found(Guess(), Available("a guess"))])
    window = {"energy_j": 60.0, "duration_ns": 10**9, "calls": 100}
    idle = {**window, "energy_j": 10.0}
    result = {"period_ns": 1e6, "idle": [idle] * 2, "windows": {"t": [window] * 5, "s": [window] * 5}, "errors": {}}
    monkeypatch.setattr(consumption, "run_job", lambda *_, **__: result)
    found = energy().measurements
    assert {m.status for m in found} == {"ok"}
    assert {(m.metric, m.evidence) for m in found} == {("energy_j", "estimated"), ("energy_net_j", "estimated")}


def test_a_model_that_failed_and_a_process_that_died(energy, usable, monkeypatch):
    result = {"period_ns": 1e6, "idle": [{"energy_j": 1.0, "duration_ns": 10**9, "calls": 1}] * 2, "windows": {}}
    monkeypatch.setattr(consumption, "run_job", lambda *_, **__: {**result, "errors": {"t": "no", "s": "no"}})
    assert {(m.status, m.reason) for m in energy().measurements} == {("error", "no")}

    def dies(*_, **__):
        raise WorkerError("gone", "", None)

    monkeypatch.setattr(consumption, "run_job", dies)
    assert {(m.status, m.reason) for m in energy().measurements} == {("error", "gone")}
