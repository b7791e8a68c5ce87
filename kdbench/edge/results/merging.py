"""From a device's result to numbers of a record, by the functions that the host's own measurement uses."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kdbench.compress.kernels import INTEGER_KERNELS, LAYER_KERNELS
from kdbench.edge.exchange.plan import BundledModel
from kdbench.edge.results.result import Result
from kdbench.edge.results.step_findings import (
    LATENCIES,
    DeviceModel,
    device_energy,
    device_latency,
    device_memory,
    device_starts,
    parity_findings,
)
from kdbench.edge.results.sustained import sustained_findings
from kdbench.machine.diagnostics import environment_diagnostics, oversubscription
from kdbench.measure.bench_model import Refusal
from kdbench.measure.context import Expected, expected_of, expected_pair
from kdbench.measure.harness import with_missing
from kdbench.measure.latency.configurations import configurations
from kdbench.measure.timed import axes_of, compared, outer_batches
from kdbench.results.cards import ModelCard
from kdbench.results.findings import Findings
from kdbench.results.records import DeviceRun, Diagnostic, Environment

_UNLIKE = "its outputs on the device differ from the host's"
_OF_START = ("load_ns", "first_run_ns", "steady_run_ns")
_OF_BATCH = ("peak_memory_bytes", "model_memory_bytes", "energy_j", "energy_net_j", "energy_run_j")
_REMEDY = "find the operators or precisions in which they differ: kdbench bench --profile shows them"


def device_name(result: Result, target_fits: bool) -> str:
    """Return the name of a device in records: its target's, or its board's or processor's in letters and digits.

    A target that every device meets names none.
    """
    if target_fits:
        return result.known.plan.target
    host = result.content.device.host
    words = host.board or host.cpu or host.machine
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:40].rstrip("-") or "device"


def environment_of(result: Result) -> Environment:
    """Return the machine and the software of a result."""
    facts = result.content.device
    return Environment(host=facts.host.model_dump(exclude_unset=True), libraries=dict(facts.libraries))


def findings_of(result: Result, cards: dict[str, ModelCard], folder: Path) -> Findings:
    """Return all numbers of a result, with a reason for each that is missing; `folder` is for temporary files."""
    models = [DeviceModel.of(model, _refusal(result, model)) for model in result.known.plan.models]
    timed = [model for model in models if model.refusal is None]
    findings = parity_findings(result, cards)
    for part in (
        device_latency(result, timed, folder),
        device_starts(result, timed),
        device_memory(result, timed),
        device_energy(result, timed),
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
        return Refusal("the measurement ended before it", "run run.py again: it continues from there")
    return Refusal(outcome.failed, _REMEDY, "invalid") if outcome.failed else None


def _expected(result: Result, models: Sequence[DeviceModel]) -> Iterator[Expected]:
    """Yield every number that a complete result has; energies only where there is a meter."""
    config = result.settings
    open_models = [replace(model, refusal=None) for model in models]
    for configuration in configurations(open_models, config):
        axes = configuration.axes(config.provider)
        called = {models[index].id: models[index] for index in configuration.models}
        yield from expected_of(called.values(), LATENCIES, axes)
        for teacher, student in compared(open_models):
            if student.id in called:
                yield expected_pair(teacher, student, "latency_ratio", axes)
    for model in models:
        yield from expected_of([model], _OF_START, axes_of(config, batch=model.fixed_batch or 1))
        for batch in outer_batches(model, config):
            yield from expected_of([model], _OF_BATCH, axes_of(config, batch=batch))


def _kernels(result: Result) -> dict[str, str]:
    """Return how many layers of each model ran in integers, in words."""
    return {id_: f"{integers} of {layers} layers in integers" for id_, (integers, layers) in _layers(result).items()}


def _layers(result: Result) -> dict[str, tuple[int, int]]:
    """Return how many layers ran in integers, and how many there are, of each model with any."""
    step = result.content.steps.kernels
    operators = {id_: [node.operator for node in nodes] for id_, nodes in (step.nodes if step else {}).items()}
    layers = {id_: [one for one in ran if one in LAYER_KERNELS] for id_, ran in operators.items()}
    return {id_: (sum(one in INTEGER_KERNELS for one in ran), len(ran)) for id_, ran in layers.items() if ran}


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
    layers = _layers(result)
    for model in result.known.plan.models:
        integers, count = layers.get(model.id, (0, 0))
        if model.tolerance.kind == "int8" and 2 * integers < count:
            message = (
                f"{count - integers} of its {count} layers run in floating point on the device, although quantized"
            )
            remedy = "its onnxruntime has no integer kernels for them: the float file may be faster"
            yield Diagnostic(code="device_kernels", message=message, remedy=remedy, model=model.id)
    if not result.content.complete:
        message = "the measurement on the device was interrupted"
        yield Diagnostic(code="incomplete", message=message, remedy="run run.py again: it continues from there")
