"""From a device's result to numbers of a record, by the functions that the host's own measurement uses."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench import statistics, storage
from kdbench.compress.kernels import INTEGER_KERNELS, LAYER_KERNELS
from kdbench.edge.device.plan import BundledModel
from kdbench.edge.result import Result
from kdbench.edge.result_values import Metered, Unmetered
from kdbench.edge.sustained import sustained_findings
from kdbench.errors import MeasurementError
from kdbench.machine.diagnostics import (
    condition_averages,
    environment_diagnostics,
    oversubscription,
    session_diagnostics,
)
from kdbench.machine.system_monitor import Conditions, ThrottlingEvent
from kdbench.measure.bench_model import Refusal
from kdbench.measure.context import Expected
from kdbench.measure.energy.rounds import account_findings
from kdbench.measure.energy.windows import Source
from kdbench.measure.harness import with_missing
from kdbench.measure.latency.configurations import configurations
from kdbench.measure.latency.diagnosis import imprecision, latency_warnings
from kdbench.measure.latency.sessions import Collected, Session
from kdbench.measure.passes.cold_start import cold_start_findings
from kdbench.measure.passes.energy import energy_findings
from kdbench.measure.passes.latency import latency_findings, protocol_facts
from kdbench.measure.passes.memory import memory_findings
from kdbench.measure.runner import ProcessResults
from kdbench.measure.timed import axes_of, compared, outer_batches
from kdbench.results.cards import ModelCard
from kdbench.results.findings import Failure, Findings, estimated
from kdbench.results.metrics import metrics_in
from kdbench.results.records import DeviceRun, Diagnostic, Environment, Measurement, measured

_UNLIKE = "its outputs on the device are not the host's"
_REMEDY = "see which operators or precisions the two differ in: kdbench bench --profile shows them"
_LATENCIES = (*metrics_in("latency"), "throughput_per_s")


@dataclass(frozen=True)
class _Model:
    """A model of a bundle, and why the device did not time it."""

    model: BundledModel
    refusal: Refusal | None

    @property
    def id(self) -> str:
        return self.model.id

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def sha256(self) -> str:
        return self.model.sha256

    @property
    def teacher(self) -> str | None:
        return self.model.teacher

    @property
    def behind(self) -> str | None:
        return self.model.behind

    @property
    def fixed_batch(self) -> int | None:
        return self.model.fixed_batch

    def refusal_in(self, runtime: str | None) -> Refusal | None:  # noqa: ARG002 - of all
        return self.refusal


def device_name(result: Result, target_fits: bool) -> str:
    """Return the name of a device in records: its target's, or its board's or processor's in letters and digits.

    A target that every device meets names none.
    """
    if target_fits:
        return result.known.plan.target
    host = result.content.device.host
    words = host.board or host.cpu or host.machine
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:40] or "device"


def environment_of(result: Result) -> Environment:
    """Return the machine and the software of a result."""
    facts = result.content.device
    return Environment(host=facts.host.model_dump(exclude_unset=True), libraries=dict(facts.libraries))


def findings_of(result: Result, cards: dict[str, ModelCard], folder: Path) -> Findings:
    """Return all numbers of a result, with a reason for each that is missing; `folder` is for temporary files."""
    models = [_Model(model, _refusal(result, model)) for model in result.known.plan.models]
    timed = [model for model in models if model.refusal is None]
    findings = _parity(result, cards)
    for part in (
        _latency(result, timed, folder),
        _starts(result, timed),
        _memory(result, timed),
        _energy(result, timed),
        sustained_findings(result, timed),
    ):
        findings += part
    findings, refused = with_missing(models, _expected(result, models), findings)
    findings += refused
    facts = {"kernels": _kernels(result), "samples": result.known.plan.samples}
    return findings + Findings(warnings=tuple(_warnings(result)), protocol=facts)


def device_run(result: Result, name: str, findings: Findings) -> DeviceRun:
    """Return the entry of a device in a record."""
    content, plan, settings = result.content, result.known.plan, result.settings
    protocol = {
        "provider": settings.provider,
        "threads": list(settings.threads),
        "batch": list(settings.batch),
        "budget_s": settings.budget_s,
        "precision": settings.precision,
        "sessions": settings.sessions,
        "mode": list(settings.mode),
        "runtime": list(settings.runtime),
        "energy": settings.energy,
        "state": content.device.state.model_dump(mode="json"),
        "lowered": {model.id: model.lowered for model in plan.models if model.lowered},
        **findings.protocol,
    }
    return DeviceRun(
        name=name,
        target=plan.target,
        created=content.created,
        bundle=content.bundle,
        result=result.id,
        complete=content.complete,
        environment=environment_of(result),
        protocol={key: value for key, value in protocol.items() if value not in (None, {}, [])},
        warnings=findings.warnings,
    )


def _refusal(result: Result, model: BundledModel) -> Refusal | None:
    outcome = result.outcomes.get(model.id)
    if outcome is None:
        return Refusal("the measurement ended before it", "run run.py again: it goes on from there")
    return Refusal(outcome.failed, _REMEDY, "invalid") if outcome.failed else None


def _parity(result: Result, cards: dict[str, ModelCard]) -> Findings:
    measurements: list[Measurement] = []
    labels = result.known.labels
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
        if labels is not None and labels.ndim == 1 and outputs.shape[1] > int(labels.max()):
            correct = int((outputs.argmax(axis=1) == labels).sum())
            share = statistics.binomial_share(correct, len(labels))
            measurements.append(estimated(id_, "device_top1", share, source=source))
    return Findings(tuple(measurements))


def _latency(result: Result, timed: Sequence[_Model], folder: Path) -> Findings:
    step, config = result.content.steps.latency, result.settings
    collected = Collected(timed, config)
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
        return Findings(failures=(Failure(None, reason, metrics=(*_LATENCIES, "latency_ratio")),))
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


def _starts(result: Result, timed: Sequence[_Model]) -> Findings:
    step = result.content.steps.cold_start
    if step is None:
        return Findings()
    values = {id_: [start.model_dump() for start in starts] for id_, starts in step.results.items()}
    results = ProcessResults(values, step.failed)
    return cold_start_findings(timed, results, results, result.settings)


def _memory(result: Result, timed: Sequence[_Model]) -> Findings:
    step = result.content.steps.memory
    if step is None:
        return Findings()
    results = ProcessResults(
        {(run.model, run.batch): [one.model_dump() for one in run.results] for run in step if run.results},
        {(run.model, run.batch): run.failed for run in step if run.failed},
    )
    return memory_findings(timed, results, result.settings)


def _energy(result: Result, timed: Sequence[_Model]) -> Findings:
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


def _expected(result: Result, models: Sequence[_Model]) -> Iterator[Expected]:
    """Yield every number that a complete result has; energies only where there is a meter."""
    config = result.settings
    open_models = [_Model(model.model, None) for model in models]
    for configuration in configurations(open_models, config):
        axes = configuration.axes(config.provider)
        called = [models[index] for index in configuration.models]
        for model in called:
            for metric in _LATENCIES:
                yield Expected(model.id, metric, axes)
        for teacher, student in compared(open_models):
            if student.id in {model.id for model in called}:
                yield Expected(student.id, "latency_ratio", axes, (teacher.id,), teacher=teacher.id)
    for model in models:
        start = axes_of(config, batch=model.fixed_batch or 1)
        for metric in ("load_ns", "first_run_ns", "steady_run_ns"):
            yield Expected(model.id, metric, start)
        for batch in outer_batches(model, config):
            axes = axes_of(config, batch=batch)
            for metric in ("peak_memory_bytes", "model_memory_bytes", "energy_j", "energy_net_j", "energy_run_j"):
                yield Expected(model.id, metric, axes)


def _kernels(result: Result) -> dict[str, str]:
    """Return how many layers of each model ran in integers, in words."""
    step = result.content.steps.kernels
    messages = {}
    for id_, nodes in (step.nodes if step is not None else {}).items():
        layers = [node.operator for node in nodes if node.operator in LAYER_KERNELS]
        if layers:
            integers = sum(operator in INTEGER_KERNELS for operator in layers)
            messages[id_] = f"{integers} of {len(layers)} layers in integers"
    return messages


def _warnings(result: Result) -> Iterator[Diagnostic]:
    facts, host = result.content.device, result.content.device.host
    yield from environment_diagnostics(environment_of(result))
    reported_codes = {"governor"}  # the environment says so
    yield from (
        Diagnostic(code=warning.code, message=warning.message, remedy=warning.remedy)
        for warning in facts.warnings
        if warning.code not in reported_codes
    )
    yield from oversubscription(max(result.settings.threads), host.cores_usable, host.cpu_quota_cores)
    for id_, outcome in result.outcomes.items():
        if outcome.failed:
            yield Diagnostic(code="device_parity", message=f"{_UNLIKE}: {outcome.failed}", remedy=_REMEDY, model=id_)
    kernels = result.content.steps.kernels
    for model in result.known.plan.models:
        nodes = kernels.nodes.get(model.id, ()) if kernels is not None else ()
        layers = [node.operator for node in nodes if node.operator in LAYER_KERNELS]
        in_float = sum(operator not in INTEGER_KERNELS for operator in layers)
        if model.tolerance.kind == "int8" and 2 * in_float > len(layers):
            message = f"{in_float} of its {len(layers)} layers run in floating point on the device, although quantized"
            remedy = "its onnxruntime has no integer kernels for them: the float file may be faster"
            yield Diagnostic(code="device_kernels", message=message, remedy=remedy, model=model.id)
    if not result.content.complete:
        message = "the measurement on the device was interrupted"
        yield Diagnostic(code="incomplete", message=message, remedy="run run.py again: it goes on from there")
