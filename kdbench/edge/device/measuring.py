"""The steps of a measurement on the device, in the host's own measuring processes; each result is plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.edge.device.store import SessionStore, Store
from kdbench.edge.exchange.parity import parity
from kdbench.edge.exchange.plan import BundledModel, Plan, Settings
from kdbench.errors import MeasurementError
from kdbench.machine.cores import available_cores
from kdbench.machine.system_monitor import Conditions
from kdbench.measure.energy.windows import MODES, meter_windows, runs_of, source_of
from kdbench.measure.latency.sessions import sample
from kdbench.measure.runner import ProcessResults, Runner
from kdbench.measure.timed import outer_batches
from kdbench.meters.choice import choose
from kdbench.meters.meter import Unavailable
from kdbench.progress import Progress
from kdbench.worker.jobs import ColdStartJob, JobModel, LogitsJob, MemoryJob, ProfileJob, SustainJob

_BLOCK_S = 1.0  # of sustained calls
_MIN_BLOCKS = 200  # of each model


@dataclass(frozen=True)
class Measurement:
    """What the steps work on: the plan, whose paths are absolute, and the settings for this device.

    `folder` is for files that processes exchange. It is the context of `kdbench.measure.latency.sessions.sample`.
    """

    plan: Plan
    config: Settings
    store: Store
    folder: Path
    progress: Progress
    conditions: list[Conditions] = field(default_factory=list)

    @cached_property
    def runner(self) -> Runner:
        """What runs the measuring processes."""
        return Runner(self.config, self.folder, self.conditions)

    @property
    def jobs(self) -> Mapping[str, JobModel]:
        """The models as measuring processes see them, by id."""
        return {model.id: model.job for model in self.plan.models}

    @property
    def null(self) -> JobModel:
        """A model that computes nothing."""
        return self.plan.null

    @property
    def timed(self) -> list[BundledModel]:
        """The models whose outputs are the host's, once `parity` is known."""
        outcomes = self.store.read("parity") or {}
        return [model for model in self.plan.models if not outcomes.get(model.id, {}).get("failed", "unknown")]


def measure_parity(m: Measurement) -> dict[str, Any]:
    """Run every model on the bundle's inputs and compare its outputs with the host's, model by model."""
    models, failed = m.plan.models, dict[str, str]()
    files = [m.store.outputs(number) for number, _ in enumerate(models)]
    job = LogitsJob(
        models=tuple(model.job for model in models),
        files=tuple(map(str, files)),
        batches=tuple(model.batch for model in models),
        provider=m.config.provider,
        threads=len(available_cores()),
    )
    result = m.runner.run_remaining(job, failed, m.progress, pinned=False)
    failed.update(result["errors"] if result else {})
    outcomes: dict[str, Any] = {}
    for model, file in zip(models, files):
        if model.id in failed:
            outcomes[model.id] = {"max_abs": 0.0, "changed": 0, "samples": 0, "failed": failed[model.id]}
        else:
            outcomes[model.id] = asdict(parity(np.load(file), np.load(model.outputs), model.tolerance))
    return outcomes


def measure_kernels(m: Measurement) -> dict[str, Any]:
    """Profile every model once; return the nodes that ran (`worker.probes.profile`), or why there are none."""
    jobs = {
        model.id: ProfileJob(
            model=model.job,
            provider=m.config.provider,
            threads=m.config.threads[0],
            batch=model.fixed_batch or 1,
            optimised=str(m.folder / f"optimised-{number}.onnx"),
        )
        for number, model in enumerate(m.timed)
    }
    results = m.runner.run_in_turns(jobs, 1, m.progress)
    return {
        "nodes": {id_: profiles[0]["nodes"] for id_, profiles in results.results.items()},
        "failed": dict(results.failed),
    }


def measure_latency(m: Measurement) -> dict[str, Any]:
    """Run sessions until the ratios are precise or the budget is spent; they are in the store, one by one."""
    archive = SessionStore(m.store, m.conditions)
    if not m.timed:
        return {"seconds": 0.0, "cores": None, "failed": "no model returns the host's outputs"}
    try:
        sampled = sample(m, m.timed, archive=archive)
    except MeasurementError as error:
        return {"seconds": 0.0, "cores": _listed(m.runner.cores), "failed": error.message}
    return {"seconds": sampled.seconds, "cores": _listed(sampled.cores), "failed": ""}


def measure_cold_start(m: Measurement) -> dict[str, Any]:
    """Start fresh processes of each model, the models taking turns."""
    jobs = {
        model.id: ColdStartJob(model=model.job, provider=m.config.provider, threads=m.config.threads[0])
        for model in m.timed
    }
    return _processes(m.runner.run_in_turns(jobs, m.plan.cold_start_processes, m.progress))


def measure_memory(m: Measurement) -> list[dict[str, Any]]:
    """Load and run each model alone in fresh processes, at batch 1 and at the largest."""
    jobs = {
        (model.id, batch): MemoryJob(
            model=model.job,
            provider=m.config.provider,
            threads=m.config.threads[0],
            batch=batch,
            calls=m.plan.memory_calls,
            null=m.null,
        )
        for model in m.timed
        for batch in outer_batches(model, m.config)
    }
    results = m.runner.run_in_turns(jobs, m.plan.memory_processes, m.progress)
    return [
        {"model": id_, "batch": batch, "results": list(results.results.get((id_, batch), ())), "failed": reason or ""}
        for (id_, batch) in jobs
        for reason in [results.failed.get((id_, batch))]
    ]


def measure_energy(m: Measurement) -> dict[str, Any]:
    """Meter windows of each model where this device has a meter; otherwise say why there is none."""
    if m.config.energy == "off":
        return {"unavailable": {"reason": "energy is switched off", "hint": ""}}
    meters = choose(m.config.provider, estimate=False)
    if isinstance(meters.leading, Unavailable):
        return {"unavailable": {"reason": meters.leading.reason, "hint": meters.leading.hint}}
    runs, failed = runs_of(m.timed, m.config), dict[str, str]()
    jobs = {model.id: model.job for model in m.timed}
    try:
        result = meter_windows(jobs, runs, meters, MODES[m.config.energy], m.runner, m.progress, failed)
    except MeasurementError as error:
        return {"unavailable": {"reason": error.message, "hint": error.hint}}
    return {
        "result": result,
        "failed": failed,
        "sources": [asdict(source_of(status)) for status in meters.used],
        "uncounted": [source.reason for source in meters.uncounted],
    }


def measure_sustained(m: Measurement, seconds: float) -> dict[str, Any]:
    """Call the models without a pause, in turn, with the most threads; each block is a line in the store."""
    m.store.write("sustaining", {"seconds": seconds, "threads": max(m.config.threads), "ids": [x.id for x in m.timed]})
    m.store.sustained.unlink(missing_ok=True)
    if not m.timed:
        return {"failed": "no model returns the host's outputs"}
    job = SustainJob(
        models=tuple(model.job for model in m.timed),
        provider=m.config.provider,
        threads=max(m.config.threads),
        seconds=seconds,
        block_s=min(_BLOCK_S, seconds / (_MIN_BLOCKS * len(m.timed))),
        lines=str(m.store.sustained),
    )
    try:
        result = m.runner.run(job, m.progress, monitor=True)
    except MeasurementError as error:
        return {"failed": error.message}
    return {"failed": "; ".join(result["errors"].values())}


STEPS: Mapping[str, Callable[[Measurement], Any]] = {
    "parity": measure_parity,
    "kernels": measure_kernels,
    "latency": measure_latency,
    "cold_start": measure_cold_start,
    "memory": measure_memory,
    "energy": measure_energy,
}
"""Every step by its name, in order; sustained load follows where it is asked for."""


def steps_of(sustain_s: float) -> dict[str, Callable[[Measurement], Any]]:
    """Return the steps of a measurement with `sustain_s` seconds of sustained load, none for 0."""
    sustained = {"sustained": partial(measure_sustained, seconds=sustain_s)} if sustain_s else {}
    return {**STEPS, **sustained}


def discard_other_loads(store: Store, sustain_s: float) -> None:
    """Forget sustained load of another length than `sustain_s`; 0, which requests none, leaves it."""
    if sustain_s and (store.read("sustaining") or {}).get("seconds") != sustain_s:
        (store.folder / "sustained.json").unlink(missing_ok=True)


def _processes(processes: ProcessResults) -> dict[str, Any]:
    return {
        "results": {id_: list(results) for id_, results in processes.results.items()},
        "failed": dict(processes.failed),
    }


def _listed(cores: tuple[int, ...] | None) -> list[int] | None:
    return None if cores is None else list(cores)
