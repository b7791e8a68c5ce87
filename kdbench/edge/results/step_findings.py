"""The numbers of a device's steps, by the functions that the host's own measurement uses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench import statistics
from kdbench.edge.exchange.plan import BundledModel
from kdbench.edge.results.result import Result
from kdbench.edge.results.step_values import Metered, Unmetered
from kdbench.errors import MeasurementError
from kdbench.files import storage
from kdbench.machine.diagnostics import condition_averages, session_diagnostics
from kdbench.machine.system_monitor import Conditions, ThrottlingEvent
from kdbench.measure.bench_model import Refusal
from kdbench.measure.energy.rounds import account_findings
from kdbench.measure.energy.windows import Source
from kdbench.measure.latency.diagnosis import imprecision, latency_warnings
from kdbench.measure.latency.sessions import Collector, Session
from kdbench.measure.passes.cold_start import cold_start_findings
from kdbench.measure.passes.energy import energy_findings
from kdbench.measure.passes.latency import latency_findings, protocol_facts
from kdbench.measure.passes.memory import memory_findings
from kdbench.measure.runner import ProcessResults
from kdbench.results.cards import ModelCard
from kdbench.results.findings import Failure, Findings, estimated
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Measurement, measured

LATENCIES = (*metrics_in("latency"), "throughput_per_s")


@dataclass(frozen=True)
class DeviceModel(BundledModel):
    """A model of a bundle, and why the device did not time it."""

    refusal: Refusal | None = None

    @classmethod
    def of(cls, model: BundledModel, refusal: Refusal | None) -> "DeviceModel":
        """Return a model with its refusal; None if the device timed it."""
        return cls(**vars(model), refusal=refusal)

    def refusal_in(self, runtime: str | None) -> Refusal | None:  # noqa: ARG002 - of all
        """Return why the device did not time it, in any runtime; None if it did."""
        return self.refusal


def parity_findings(result: Result, cards: dict[str, ModelCard]) -> Findings:
    """Return how far the device's outputs are from the host's, and the accuracy where the bundle has labels."""
    measurements: list[Measurement] = []
    for id_, outputs in result.outputs.items():
        outcome, source = result.outcomes.get(id_), "all samples of the bundle"
        if outcome is None or not outcome.samples:
            continue
        n = outcome.samples
        measurements.append(measured(id_, "device_max_abs", outcome.max_abs, n=n, source=source))
        if cards[id_].targets:
            continue
        same = statistics.binomial_share(n - outcome.changed, n)
        measurements.append(estimated(id_, "device_agreement", same, source=source))
        if (labels := result.known.labels.get(id_)) is not None:
            share = statistics.binomial_share(int((outputs.argmax(axis=1) == labels).sum()), n)
            measurements.append(estimated(id_, "device_top1", share, source=source))
    return Findings(tuple(measurements))


def device_latency(result: Result, timed: Sequence[DeviceModel], folder: Path) -> Findings:
    """Return latencies and their ratios from all sessions; `folder` is for temporary files."""
    step, config = result.content.steps.latency, result.settings
    collected = Collector(timed, config)
    spent_s = 0.0
    for kept in result.content.sessions:
        file = None
        if kept.number in result.sessions:
            file = folder / f"{kept.number}.npz"
            with storage.writing(file, flush=False) as stream:
                stream.write(result.sessions[kept.number])
        session = kept.session
        content = None if session.result is None else session.result.model_dump()
        collected.add(Session(session.number, session.runtime, content, file, session.lost, session.seconds))
        spent_s += session.seconds
    if not collected.sessions:
        reason = (step.failed if step else "") or "the measurement ended before it"
        return Findings(failures=(Failure(None, reason, metrics=(*LATENCIES, "latency_ratio")),))
    shared = result.content.device.host.virtualization is not None
    cores = step.cores if step is not None else None
    sampled = collected.sampled(spent_s, cores, shared=shared)
    step_ns = result.content.device.clock_step_ns
    conditions = [_conditions(one) for kept in result.content.sessions for one in kept.conditions]
    return latency_findings(timed, sampled, config) + Findings(
        warnings=(
            *imprecision(sampled.width, config, sampled.plan),
            *latency_warnings(sampled, config, step_ns),
            *session_diagnostics(conditions),
        ),
        protocol={**protocol_facts(sampled, config), **condition_averages(conditions)},
    )


def _conditions(kept: Any) -> Conditions:
    values = kept.model_dump()
    events = tuple(ThrottlingEvent(**event) for event in values.pop("throttling"))
    return Conditions(**values, throttling=events)


def device_starts(result: Result, timed: Sequence[DeviceModel]) -> Findings:
    """Return the times of loading and of the first call."""
    step = result.content.steps.cold_start
    if step is None:
        return Findings()
    values = {id_: [start.model_dump() for start in starts] for id_, starts in step.results.items()}
    results = ProcessResults(values, step.failed)
    return cold_start_findings(timed, results, results, result.settings)


def device_memory(result: Result, timed: Sequence[DeviceModel]) -> Findings:
    """Return the peak memory at each batch."""
    step = result.content.steps.memory
    if step is None:
        return Findings()
    results = ProcessResults(
        {(run.model, run.batch): [one.model_dump() for one in run.results] for run in step if run.results},
        {(run.model, run.batch): run.failed for run in step if run.failed},
    )
    return memory_findings(timed, results, result.settings)


def device_energy(result: Result, timed: Sequence[DeviceModel]) -> Findings:
    """Return joules per inference and per run, or why there are none."""
    step, metrics = result.content.steps.energy, metrics_in("energy")
    if step is None:
        return Findings()
    if isinstance(step, Unmetered):
        why = step.unavailable
        return Findings(failures=(Failure(None, why.reason, "unavailable", why.hint or None, metrics=metrics),))
    assert isinstance(step, Metered)
    sources = [Source(**meter.model_dump()) for meter in step.sources]
    content = None if step.result is None else step.result.model_dump()
    try:
        accounts, findings = account_findings(timed, content, step.failed, sources, step.uncounted, result.settings)
    except MeasurementError as error:
        return Findings(failures=(Failure(None, error.message, metrics=metrics),))
    return energy_findings(timed, accounts, result.settings) + findings
