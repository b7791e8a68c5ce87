"""Which runtimes may run which models: asked in processes of their own, before anything is timed.

A runtime that does not run the file itself is admitted when its logits are those onnxruntime gives for the file.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import storage
from kdbench.errors import InputError, MeasurementError
from kdbench.machine.cores import choose_cores, rotate_cores
from kdbench.machine.lock import machine_lock
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.network import Refusal
from kdbench.measure.staging import null_model
from kdbench.progress import Progress, Silent, SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results import metrics
from kdbench.worker.jobs import JobModel, Network
from kdbench.worker.process import run_job

ONNXRUNTIME = "onnxruntime"
_IMAGES = 16  # compared one by one


@dataclass(frozen=True)
class Run:
    """What one runtime made of one model: times of loading and the first call, distance from onnxruntime's logits."""

    load_ns: int
    first_run_ns: int
    max_abs: float


@dataclass(frozen=True)
class Admitted:
    """The subjects, each with the runtimes that do not run it `refused`; `runs` by runtime and subject; `facts`."""

    subjects: tuple[BenchModel, ...]
    runs: Mapping[tuple[str, str], Run] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def require_runtimes(config: Measure, progress: Progress) -> None:
    """Raise InputError where no runtime that was asked for can use the protocol's provider on this machine.

    Where processes must be started to know, it waits while another kdbench measures.
    """
    if _in_question([ONNXRUNTIME, *config.runtime], config):
        with machine_lock(progress):
            absent_runtimes(config)


def absent_runtimes(config: Measure) -> dict[str, Refusal]:
    """Return which runtimes, onnxruntime among them, cannot use the protocol's provider on this machine.

    Raises InputError where none of those that were asked for can.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = unavailable(config, dict.fromkeys([ONNXRUNTIME, *config.runtime]), Path(folder))
    refused = {name: refusal for name, refusal in found.items() if name in config.runtime}
    if len(refused) < len(config.runtime):
        return found
    first = refused[config.runtime[0]]
    if len(refused) == 1:
        raise InputError(first.reason, first.hint or "")
    reasons = "; ".join(f"{name}: {refusal.reason}" for name, refusal in refused.items())
    raise InputError(f"no runtime can use {config.provider} here: {reasons}", first.hint or "")


def unavailable(config: Measure, names: Iterable[str], folder: Path) -> dict[str, Refusal]:
    """Return which runtimes cannot use the protocol's provider on this machine, whatever the model.

    Each runs a model that computes nothing: what a library says of itself does not count. onnxruntime on the CPU is
    taken for granted.
    """
    asked = _in_question(names, config)
    if not asked:
        return {}
    null = replace(null_model(folder), images=str(folder / "null.npy"))
    with storage.writing(Path(null.images)) as stream:
        np.save(stream, np.zeros((1, 1, 1, 1), np.uint8))
    refused = {}
    for name in asked:
        told = _ask(name, [null], config, folder, Silent())
        if isinstance(told, Refusal):
            refused[name] = told
        elif null.id in told["errors"]:
            reason, hint = told["errors"][null.id]
            refused[name] = Refusal(reason, hint or None)
    return refused


def admit(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    config: Measure,
    absent: Mapping[str, Refusal],
    folder: Path,
    progress: SubProgress,
) -> Admitted:
    """Find out, in `folder`, which of the protocol's runtimes run which subjects; those `absent` run none.

    onnxruntime runs what it is given: the file is its own.
    """
    refused = {s.id: dict(absent) for s in subjects}
    runs: dict[tuple[str, str], Run] = {}
    facts: dict[str, Any] = {}
    others = [name for name in config.runtime if name != ONNXRUNTIME and name not in absent]
    known = [s for s in subjects if s.timed and isinstance(s.network, Network)]
    few = _few(known, models, folder) if others else {}
    expected = _expected(few, config, folder)
    for number, (name, s) in enumerate((name, s) for name in others for s in subjects if s.timed):
        progress.step(number, len(others) * len(subjects))
        if isinstance(s.network, Refusal):
            refused[s.id][name] = s.network
            continue
        found = _try(name, few[s.id], expected[s.id], config, folder)
        if isinstance(found, Refusal):
            refused[s.id][name] = found
        else:
            runs[name, s.id], facts[name] = found
    return Admitted(tuple(replace(s, refused=refused[s.id]) for s in subjects), runs, facts)


def evaluation_provider(subjects: Sequence[BenchModel], config: Measure) -> str:
    """Return where onnxruntime takes accuracies: the CPU where it cannot use the protocol's provider."""
    return "cpu" if any(ONNXRUNTIME in s.refused for s in subjects) else config.provider


def _few(subjects: Sequence[BenchModel], models: Mapping[str, JobModel], folder: Path) -> dict[str, JobModel]:
    """Return the subjects' models with no more than _IMAGES images each."""
    found = {}
    for s in subjects:
        images = np.load(models[s.id].images, mmap_mode="r")[:_IMAGES]
        path = folder / f"few-{Path(models[s.id].images).name}"
        with storage.writing(path) as stream:
            np.save(stream, images)
        found[s.id] = replace(models[s.id], images=str(path))
    return found


def _expected(
    models: Mapping[str, JobModel], config: Measure, folder: Path
) -> dict[str, NDArray[np.generic] | Refusal]:
    """Return what onnxruntime says of the models' images, on the CPU, by id."""
    found: dict[str, NDArray[np.generic] | Refusal] = {}
    for id_, model in models.items():
        told = _ask(ONNXRUNTIME, [model], config.model_copy(update={"provider": "cpu"}), folder, Silent())
        reason = told.reason if isinstance(told, Refusal) else told["errors"].get(id_, ("",))[0]
        found[id_] = (
            Refusal(f"onnxruntime gives no logits to compare with: {reason}") if reason else np.load(_file(folder, 0))
        )
    return found


def _try(
    name: str, model: JobModel, expected: NDArray[np.generic] | Refusal, config: Measure, folder: Path
) -> tuple[Run, Mapping[str, Any]] | Refusal:
    """Return how runtime `name` ran `model`, and the runtime's facts; or why the two may not be measured together."""
    if isinstance(expected, Refusal):
        return expected
    told = _ask(name, [model], config, folder, Silent())
    if isinstance(told, Refusal):
        return told
    if model.id in told["errors"]:
        reason, hint = told["errors"][model.id]
        return Refusal(reason, hint or None, fault=True)
    found = np.load(_file(folder, 0))
    if found.shape != expected.shape:
        return Refusal(f"its logits are {found.shape}, those of the file {expected.shape}", fault=True)
    max_abs = float(np.abs(found.astype(np.float64) - expected).max())
    tolerance = metrics.parity_tolerance(float(np.abs(expected).max()))
    if not max_abs <= tolerance:  # NaN is no agreement
        return Refusal(
            f"its logits stray from those of the file by {max_abs:.3g} (tolerance {tolerance:.3g})",
            "the weights are of another training than the file: export it again",
            fault=True,
        )
    return Run(told["load_ns"][model.id], told["first_run_ns"][model.id], max_abs), told["facts"]


def _in_question(names: Iterable[str], config: Measure) -> list[str]:
    return [name for name in names if (name, config.provider) != (ONNXRUNTIME, "cpu")]


def _ask(name: str, models: Sequence[JobModel], config: Measure, folder: Path, progress: Progress) -> Any | Refusal:
    """Return what a fresh process says of `models` in runtime `name`; a Refusal where it did not live to say it."""
    threads = config.threads[0]
    cores = rotate_cores(choose_cores(config.cores, config.threads), threads, 0)
    job = {
        "probe": "admission",
        "runtime": name,
        "models": [model.to_json() for model in models],
        "files": [str(_file(folder, number)) for number in range(len(models))],
        "provider": config.provider,
        "threads": threads,
    }
    try:
        return run_job(job, folder, progress, threads=threads, cores=cores)
    except MeasurementError as error:
        return Refusal(error.message, error.hint, fault=True)


def _file(folder: Path, number: int) -> Path:
    return folder / f"admission-{number}.npy"
