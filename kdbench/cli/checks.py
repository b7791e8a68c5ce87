"""What `kdbench doctor` looks at. Each check reports what it found and, where something is amiss, the remedy."""

import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from kdbench import units
from kdbench.errors import KdbenchError
from kdbench.machine.diagnostics import environment_diagnostics
from kdbench.machine.fingerprint import fingerprint
from kdbench.results.records import Environment
from kdbench.worker.jobs import PROVIDERS

State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: what was looked at, how it stands, and what would mend it."""

    subject: str
    state: State
    detail: str
    remedy: str = ""


Check = Callable[[Environment], Iterator[Finding]]


def examine() -> Iterator[Finding]:
    """Run every check; one that fails itself is a finding too, so that the others are still heard."""
    environment = fingerprint()
    for check in CHECKS:
        try:
            yield from check(environment)
        except Exception as error:  # noqa: BLE001 - a doctor who faints helps nobody
            subject = check.__name__.strip("_")
            yield Finding(subject, "warn", f"this check failed: {type(error).__name__}: {error}", "please report it")


def _host(environment: Environment) -> Iterator[Finding]:
    host = environment.host
    cores = f"{host['cores_usable']} of {host['cores_logical']} cores usable"
    memory = units.size(float(host["memory_bytes"] or 0))
    yield Finding("host", "ok", f"{host['cpu'] or host['machine']}, {cores}, {memory}, {host['os']}")
    supported = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if supported else "warn", platform.python_version(), "" if supported else "use 3.11+")


def _stability(environment: Environment) -> Iterator[Finding]:
    host, warnings = environment.host, environment_diagnostics(environment)
    for warned in warnings:
        yield Finding(warned.code.replace("_", " "), "warn", warned.message, warned.remedy)
    if not warnings:
        yield Finding("stability", "ok", f"{host['cores_busy']} cores busy, governor {host['governor']}")


def _libraries(environment: Environment) -> Iterator[Finding]:
    """Compare what is installed with what the package declares."""
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
            yield Finding(name, "missing", "is not installed", f"pip install {name}")


def _providers(_: Environment) -> Iterator[Finding]:
    import onnxruntime

    yield Finding("providers", "ok", ", ".join(onnxruntime.get_available_providers()))


def _threads(environment: Environment) -> Iterator[Finding]:
    cores = environment.host["cores_usable"]
    asked = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    detail = ", ".join(f"{name}={value}" for name, value in asked.items()) or f"no limit set, cores usable: {cores}"
    yield Finding("threads", "ok", f"{detail}; measurements use the count given with --threads")


def _latency(environment: Environment) -> Iterator[Finding]:
    """Say what bears on latencies here, and which of the things that disturb them this machine would tell."""
    from kdbench.machine.system_monitor import SystemMonitor
    from kdbench.machine.throttling import gauges
    from kdbench.measure.latency.diagnosis import clock_step_ns

    host = environment.host
    known = [f"{name} {host.get(name.lower()) or 'unknown'}" for name in ("governor", "turbo", "SMT")]
    pinned = "processes can be pinned" if hasattr(os, "sched_setaffinity") else "processes cannot be pinned"
    yield Finding("latency", "ok", f"{', '.join(known)}, clock step {units.time(clock_step_ns())}, {pinned}")
    now = SystemMonitor().read()
    told = {"others' load": bool(now.busy_s), "stolen time": bool(now.stolen_s)}
    told |= {gauge.title: gauge.read() is not None for gauge in gauges(Path("/"), "cuda" if host.get("gpu") else "cpu")}
    seen, unseen = (", ".join(name for name, here in told.items() if here is it) or "none" for it in (True, False))
    yield Finding("disturbances", "ok", f"told here: {seen}; not told: {unseen}")


def _data(_: Environment) -> Iterator[Finding]:
    from kdbench.data import DATASETS

    for name, _loader in DATASETS:
        yield _data_set(name)


def _data_set(name: str) -> Finding:
    from kdbench.data import PARTS, load

    found, hint = [], ""
    for part in PARTS:
        try:
            found.append(f"{part} {len(getattr(load(name, parts=(part,)), part))}")
        except KdbenchError as error:
            hint = error.hint
    state: State = "ok" if len(found) == len(PARTS) else "warn" if found else "missing"
    return Finding(f"data: {name}", state, ", ".join(found) or "not found", hint)


def _energy(_: Environment) -> Iterator[Finding]:
    """Tell of every source what it found here, and for each provider which of them would be read."""
    from kdbench.meters.choice import choose, every_source
    from kdbench.meters.meter import Available, Unavailable

    for source in every_source():
        subject, counter = f"energy: {source.counter.name}", source.counter
        if isinstance(source.state, Available):
            yield Finding(subject, "ok", f"{counter.scope}, {counter.evidence}: {source.state.detail}")
        else:
            remedy = source.state.hint or "nothing to mend: this machine is of another kind"
            yield Finding(subject, "missing", source.state.reason, remedy)
    for provider in PROVIDERS:
        choice = choose(provider, estimate=False)
        if isinstance(choice.leading, Unavailable):
            yield Finding(f"energy with {provider}", "missing", choice.leading.reason, choice.leading.hint)
        else:
            used = " and ".join(f"{each.counter.scope} by {each.counter.name}" for each in choice.used)
            yield Finding(f"energy with {provider}", "ok", used)


def _gpu(environment: Environment) -> Iterator[Finding]:
    name = environment.host.get("gpu")
    if name is None:
        yield Finding("gpu", "missing", "no NVIDIA driver answers", "fine unless you measure with --provider cuda")
    else:
        yield Finding("gpu", "ok", f"{name}, driver {environment.host.get('gpu_driver')}")


CHECKS: tuple[Check, ...] = (_host, _stability, _libraries, _providers, _threads, _latency, _gpu, _energy, _data)
