"""`kdbench doctor`: whether this machine is ready to measure on.

Each check yields findings and, where something is wrong, the remedy.
"""

import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdbench import units
from kdbench.cli import console
from kdbench.cli.options import Json
from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from kdbench.results.records import Environment

State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Finding:
    """One line: the subject, its state, the detail and the remedy."""

    subject: str
    state: State
    detail: str
    remedy: str = ""


Check = Callable[["Environment"], Iterator[Finding]]


def doctor(json: Json = False) -> None:
    """Check the host, the libraries, what affects latencies, the energy counters and the data.

    Every line says ok, warn or missing, with a remedy. With --json the result is {"findings": [...]}.

    Example: kdbench doctor
    """
    findings = []
    for finding in examine():
        findings.append(finding)
        if not json:
            console.result(f"{finding.state:<8} {finding.subject}: {finding.detail}")
            if finding.remedy:
                console.result(f"{'':<8}   → {finding.remedy}")
    if json:
        console.result_json({"findings": [asdict(finding) for finding in findings]})


def examine() -> Iterator[Finding]:
    """Run every check; a check that raises becomes a finding, so that the others still run."""
    from kdbench.machine.fingerprint import fingerprint

    environment = fingerprint()
    for check in CHECKS:
        try:
            yield from check(environment)
        except Exception as error:  # noqa: BLE001 - the other checks still run
            subject = check.__name__.strip("_")
            yield Finding(subject, "warn", f"this check failed: {type(error).__name__}: {error}", "please report it")


def _host(environment: "Environment") -> Iterator[Finding]:
    host = environment.host
    cores = f"{host['cores_usable']} of {host['cores_logical']} cores usable"
    memory = units.size(float(host["memory_bytes"] or 0))
    yield Finding("host", "ok", f"{host['cpu'] or host['machine']}, {cores}, {memory}, {host['os']}")
    supported = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if supported else "warn", platform.python_version(), "" if supported else "use 3.11+")


def _stability(environment: "Environment") -> Iterator[Finding]:
    from kdbench.machine.diagnostics import environment_diagnostics

    host, warnings = environment.host, list(environment_diagnostics(environment))
    for warning in warnings:
        yield Finding(warning.code.replace("_", " "), "warn", warning.message, warning.remedy)
    if not warnings:
        yield Finding("stability", "ok", f"{host['cores_busy']} cores busy, governor {host['governor']}")


def _libraries(environment: "Environment") -> Iterator[Finding]:
    """Compare what is installed with what the package declares."""
    from importlib import metadata

    from kdbench.extras import installer

    try:
        declared = metadata.requires("kdbench") or []
    except metadata.PackageNotFoundError:
        declared = []
        yield Finding("kdbench", "warn", "runs from a working copy that is not installed", "pip install -e .")
    yield Finding("libraries", "ok", ", ".join(f"{name} {it}" for name, it in environment.libraries.items()))
    for name in (re.split(r"[\s\[;<>=!~]", line)[0] for line in declared if "extra ==" not in line):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "missing", "is not installed", f"{installer()} {name}")


def _extras(_: "Environment") -> Iterator[Finding]:
    """Report each extra: what it is for, and which of its libraries are missing."""
    from kdbench.extras import EXTRAS, install, missing

    for name, extra in EXTRAS.items():
        absent = missing(name)
        detail = f"{extra.purpose}; not installed: {', '.join(absent)}" if absent else extra.purpose
        yield Finding(f"extra {name}", "missing" if absent else "ok", detail, install(name) if absent else "")


def _providers(environment: "Environment") -> Iterator[Finding]:
    import onnxruntime

    from kdbench.extras import onnxruntime_for_cuda

    available = onnxruntime.get_available_providers()
    lacking = environment.host.get("gpu") is not None and "CUDAExecutionProvider" not in available
    remedy = f"to measure on the GPU: {onnxruntime_for_cuda()}"
    yield Finding("providers", "warn" if lacking else "ok", ", ".join(available), remedy if lacking else "")


def _threads(environment: "Environment") -> Iterator[Finding]:
    cores = environment.host["cores_usable"]
    limits = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    detail = ", ".join(f"{name}={value}" for name, value in limits.items()) or f"no limit set, cores usable: {cores}"
    yield Finding("threads", "ok", f"{detail}; measurements use the count of --threads")


def _latency(environment: "Environment") -> Iterator[Finding]:
    """Report what affects latencies here, and which disturbances this machine can detect."""
    from kdbench.machine.system_monitor import SystemMonitor
    from kdbench.machine.throttling import gauges
    from kdbench.worker.timing import clock_step_ns

    host = environment.host
    known = [f"{name} {host.get(name.lower()) or 'unknown'}" for name in ("governor", "turbo", "SMT")]
    pinned = "processes can be pinned" if hasattr(os, "sched_setaffinity") else "processes cannot be pinned"
    yield Finding("latency", "ok", f"{', '.join(known)}, clock step {units.time(clock_step_ns())}, {pinned}")
    now = SystemMonitor().read()
    detected = {"others' load": bool(now.busy_s), "stolen time": bool(now.stolen_s)}
    provider = "cuda" if host.get("gpu") else "cpu"
    detected |= {gauge.title: gauge.read() is not None for gauge in gauges(Path("/"), provider)}
    yes, no = (", ".join(name for name, seen in detected.items() if seen is state) or "none" for state in (True, False))
    yield Finding("disturbances", "ok", f"detected here: {yes}; not detected: {no}")


def _data(_: "Environment") -> Iterator[Finding]:
    from kdbench.data import DATASETS, PARTS, load

    for name, _loader in DATASETS:
        sizes, hint = [], ""
        for part in PARTS:
            try:
                sizes.append(f"{part} {len(getattr(load(name, parts=(part,)), part))}")
            except KdbenchError as error:
                hint = error.hint
        state: State = "ok" if len(sizes) == len(PARTS) else "warn" if sizes else "missing"
        yield Finding(f"data: {name}", state, ", ".join(sizes) or "not found", hint)


def _energy(_: "Environment") -> Iterator[Finding]:
    """Report the state of every energy source, and which sources each provider would use."""
    from kdbench.meters.choice import all_meters, choose
    from kdbench.meters.meter import Available, Unavailable
    from kdbench.worker.jobs import PROVIDERS

    for source in all_meters():
        subject, counter = f"energy: {source.meter.name}", source.meter
        if isinstance(source.state, Available):
            yield Finding(subject, "ok", f"{counter.scope}, {counter.evidence}: {source.state.detail}")
        else:
            remedy = source.state.hint or "nothing to do: this machine has no such hardware"
            yield Finding(subject, "missing", source.state.reason, remedy)
    for provider in PROVIDERS:
        choice = choose(provider, estimate=False)
        if isinstance(choice.leading, Unavailable):
            yield Finding(f"energy with {provider}", "missing", choice.leading.reason, choice.leading.hint)
        else:
            used = " and ".join(f"{source.meter.scope} by {source.meter.name}" for source in choice.used)
            yield Finding(f"energy with {provider}", "ok", used)


def _gpu(environment: "Environment") -> Iterator[Finding]:
    name = environment.host.get("gpu")
    if name is None:
        yield Finding("gpu", "missing", "no NVIDIA driver responds", "fine unless you measure with --provider cuda")
    else:
        yield Finding("gpu", "ok", f"{name}, driver {environment.host.get('gpu_driver')}")


CHECKS: tuple[Check, ...] = (
    _host, _stability, _libraries, _extras, _providers, _threads, _latency, _gpu, _energy, _data,
)  # fmt: skip
