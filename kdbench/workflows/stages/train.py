"""The training stage: every network of a recipe fitted, in order, what is already there kept."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import nn

from kdbench import storage
from kdbench.data.batches import Batches
from kdbench.distill import fit
from kdbench.distill.devices import processes_of
from kdbench.distill.logit_cache import LogitCache
from kdbench.distill.metering import EnergyMeter, Unmetered
from kdbench.distill.method import MethodContext
from kdbench.distill.objective import Objective, ScheduledTerm, student_objective, student_terms
from kdbench.distill.placement import device_of, evaluation_batch, resolved
from kdbench.distill.processes import world_size
from kdbench.distill.start import require_same_shape
from kdbench.distill.teacher import LiveTeacher, Teacher
from kdbench.errors import DivergedError, StorageError
from kdbench.measure.energy.epochs import EpochMeter
from kdbench.progress import Progress
from kdbench.recipe import Recipe, Student, Training
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages import networks
from kdbench.workflows.stages.launch import train_spread
from kdbench.workflows.stages.logit_caches import is_cached
from kdbench.workflows.stages.plan import Job
from kdbench.workflows.stages.run_data import RunData

SPREAD = "a training on several devices is not metered"


def train_all(
    recipe: Recipe, jobs: list[Job], material: RunData, folder: RunFolder, progress: Progress, *, stages_after: int
) -> None:
    """Train whatever of `jobs` the folder does not hold yet; `stages_after` are counted in the progress."""
    with ExitStack() as stack:
        meters: dict[str, EpochMeter | None] = {}
        for number, job in enumerate(jobs, start=1):
            progress.stage(f"train {job.id}", number, len(jobs) + stages_after)
            if fit.finished(folder.checkpoint(job.id), job.key(recipe, material.content)):
                progress.note(f"{job.id}: already trained")
                continue
            training = training_of(job)
            if (count := processes_of(training)) > 1:
                if world_size() == 1:
                    train_spread(job.id, count, folder, progress)
                else:
                    train_one(job, recipe, material, folder, progress, Unmetered(SPREAD))
                continue
            device = device_of(training).type
            if device not in meters:
                meters[device] = _meter(recipe, device, stack)
            train_one(job, recipe, material, folder, progress, meters[device])


def check(jobs: list[Job], material: RunData) -> None:
    """Build every entry's network and loss once: what is misspelt fails before hours are spent."""
    seen: set[tuple[str, bool]] = set()
    for job in jobs:
        kind = (job.entry.name, job.part is None)
        if kind in seen:  # another seed's, or another part
            continue
        seen.add(kind)
        network = networks.fresh(job, material.dataset)
        terms = _terms(job, network, [networks.fresh(t, material.dataset) for t in job.teachers], material)
        if not job.parts:
            is_cached(job.entry, terms, training_of(job))
        if job.start is not None:
            require_same_shape(network, networks.like_start(job, material.dataset))
        device_of(training_of(job))


def training_of(job: Job) -> Training:
    """Return how a job is trained: the fused network of sub-students has a training of its own."""
    entry = job.entry
    fused = isinstance(entry, Student) and entry.sub_students is not None and job.parts
    return entry.sub_students.head if fused else entry.training  # type: ignore[attr-defined]


def _terms(job: Job, network: nn.Module, teachers: Sequence[nn.Module], material: RunData) -> tuple[ScheduledTerm, ...]:
    """Return the terms of a student's loss. Teachers have none, and fused parts learn from the labels."""
    if not isinstance(job.entry, Student) or job.parts:
        return ()
    part = material.part_of(job.entry.data)
    setting = MethodContext(
        student=network,
        teachers=tuple(teachers),
        example=material.example(part.split, 2),
        labels=torch.from_numpy(part.split.labels),
        classes=material.dataset.classes,
        build=networks.builder(job, material.dataset),
    )
    return student_terms(job.entry, setting)


def _objective(job: Job, terms: Sequence[ScheduledTerm], teachers: Sequence[Teacher], training: Training) -> Objective:
    if not isinstance(job.entry, Student) or job.parts:
        return Objective(label_smoothing=training.label_smoothing)
    return student_objective(job.entry, terms, teachers)


def _teachers(
    job: Job, learned: list[nn.Module], terms: Sequence[ScheduledTerm], shuffled: Batches, training: Training,
    material: RunData, folder: RunFolder, progress: Progress,
) -> list[Teacher]:  # fmt: skip
    """Return the job's teachers, asked at every step or once and for all."""
    if not any(term.method.taught for term in terms):
        return []
    if not is_cached(job.entry, terms, training):
        return [LiveTeacher(network, channels_last=shuffled.channels_last) for network in learned]
    cache = logit_cache(folder)
    content = material.part_of(job.entry.data).content
    return [
        cache.teacher(
            network, _identity(teacher, folder), shuffled, precision=training.precision, content=content,
            progress=progress,
        )
        for network, teacher in zip(learned, job.teachers, strict=True)
    ]  # fmt: skip


def logit_cache(folder: RunFolder) -> LogitCache:
    """Return where teachers' logits are kept: in the run's folder, or where KDBENCH_CACHE says, for several runs.

    Raises StorageError where the latter cannot be written to.
    """
    shared = os.environ.get("KDBENCH_CACHE")
    place = Path(shared).expanduser() if shared else folder.path / "cache"
    try:
        return LogitCache(storage.make_folder(place / "teacher-logits"))
    except StorageError as error:
        if not shared:
            raise
        raise StorageError(error.message, "let KDBENCH_CACHE name a folder you may write to, or unset it") from error


def _identity(job: Job, folder: RunFolder) -> str:
    """Return a hash of a trained network: its architecture and its weights."""
    weights = storage.sha256(folder.checkpoint(job.id) / fit.WEIGHTS)
    model = job.entry.model_dump(mode="json", include={"model", "quantize", "sub_students"})
    return storage.content_hash({"weights": weights, **model})


def _meter(recipe: Recipe, device: str, stack: ExitStack) -> EpochMeter | None:
    """Return the meter of what is computed on `device`, closed with `stack`; None where energy was not asked for."""
    if recipe.measure.energy == "off":
        return None
    return stack.enter_context(EpochMeter(device, estimate=recipe.measure.estimate_energy))


def train_one(
    job: Job,
    recipe: Recipe,
    material: RunData,
    folder: RunFolder,
    progress: Progress,
    meter: EnergyMeter | None,
) -> None:
    """Train a job, as one of several processes if it takes several; whatever it needs is in the folder."""
    dataset = material.dataset
    network = networks.beginning(job, material, folder)
    learned = [networks.trained(teacher, dataset, folder) for teacher in job.teachers] if job.learns else []
    terms = _terms(job, network, learned, material)
    training = resolved(training_of(job), network)
    device = device_of(training)
    placed = {"device": device, "channels_last": training.channels_last}
    shuffled = material.batches(
        material.part_of(job.entry.data).split, training.batch, train=True, augment=job.entry.data.augment,
        seed=job.seed, classes=dataset.classes, **placed,
    )  # fmt: skip
    teachers = _teachers(job, learned, terms, shuffled, training, material, folder, progress)
    try:
        fit.fit(
            network,
            _objective(job, terms, teachers, training),
            shuffled,
            material.batches(material.validation, evaluation_batch(device, training.batch), **placed),
            training,
            seed=job.seed,
            folder=folder.checkpoint(job.id),
            key=job.key(recipe, material.content),
            progress=progress,
            meter=meter,
        )
    except DivergedError as error:
        raise DivergedError(f"{job.id}: {error.message}", error.hint) from error
