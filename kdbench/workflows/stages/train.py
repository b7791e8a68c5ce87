"""The training stage: trains every network of a recipe in order, except those that the run's folder holds already."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import nn

from kdbench.distill import fit
from kdbench.distill.devices import device_of, evaluation_batch, processes_of, resolved
from kdbench.distill.initial_weights import require_same_shape
from kdbench.distill.metering import EnergyMeter, Unmetered
from kdbench.distill.method import MethodContext
from kdbench.distill.objective import Objective, ScheduledTerm, student_objective, student_terms
from kdbench.distill.processes import world_size
from kdbench.distill.teachers import Teacher
from kdbench.errors import DivergedError
from kdbench.measure.energy.epochs import EpochMeter
from kdbench.progress import Progress
from kdbench.recipe import Recipe, Student, Training
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages import networks
from kdbench.workflows.stages.launch import train_in_processes
from kdbench.workflows.stages.plan import Job
from kdbench.workflows.stages.run_data import RunData
from kdbench.workflows.stages.teachers import build_teachers, is_cached

UNMETERED_REASON = "a training on several devices is not metered"


def train_all(
    recipe: Recipe, jobs: list[Job], run_data: RunData, folder: RunFolder, progress: Progress, *, stages_after: int
) -> None:
    """Train the `jobs` that the folder does not hold yet; `stages_after` more stages count in the progress."""
    with ExitStack() as stack:
        meters: dict[str, EpochMeter | None] = {}
        for number, job in enumerate(jobs, start=1):
            progress.stage(f"train {job.id}", number, len(jobs) + stages_after)
            if fit.finished(folder.checkpoint(job.id), job.key(recipe, run_data.content)):
                progress.note(f"{job.id}: already trained")
                continue
            training = training_of(job)
            if (count := processes_of(training)) > 1:
                if world_size() == 1:
                    train_in_processes(job.id, count, folder, progress)
                else:
                    train_one(job, recipe, run_data, folder, progress, Unmetered(UNMETERED_REASON))
                continue
            device = device_of(training).type
            if device not in meters:
                meters[device] = _meter(recipe, device, stack)
            train_one(job, recipe, run_data, folder, progress, meters[device])


def check(jobs: list[Job], run_data: RunData) -> None:
    """Build every entry's network and loss once, so that mistakes in a recipe fail before hours are spent."""
    seen: set[tuple[str, bool]] = set()
    for job in jobs:
        kind = (job.entry.name, job.part is None)
        if kind in seen:  # another seed's, or another part
            continue
        seen.add(kind)
        network = networks.fresh(job, run_data.dataset)
        terms = _terms(job, network, [networks.fresh(t, run_data.dataset) for t in job.teachers], run_data)
        if not job.parts:
            is_cached(job.entry, terms, training_of(job))
        if job.start is not None:
            require_same_shape(network, networks.start_network(job, run_data.dataset))
        device_of(training_of(job))


def training_of(job: Job) -> Training:
    """Return a job's training options; the fused network of sub-students has separate ones."""
    entry = job.entry
    fused = isinstance(entry, Student) and entry.sub_students is not None and job.parts
    return entry.sub_students.head if fused else entry.training  # type: ignore[attr-defined]


def _terms(job: Job, network: nn.Module, teachers: Sequence[nn.Module], run_data: RunData) -> tuple[ScheduledTerm, ...]:
    """Return the terms of a student's loss; none for teachers and for fused parts, which learn from the labels."""
    if not isinstance(job.entry, Student) or job.parts:
        return ()
    part = run_data.part_of(job.entry.data)
    context = MethodContext(
        student=network,
        teachers=tuple(teachers),
        example=run_data.example(part.split, 2),
        labels=torch.from_numpy(part.split.labels),
        classes=run_data.dataset.classes,
        build=networks.builder(job, run_data.dataset),
    )
    return student_terms(job.entry, context)


def _objective(job: Job, terms: Sequence[ScheduledTerm], teachers: Sequence[Teacher], training: Training) -> Objective:
    if not isinstance(job.entry, Student) or job.parts:
        return Objective(label_smoothing=training.label_smoothing)
    return student_objective(job.entry, terms, teachers)


def _meter(recipe: Recipe, device: str, stack: ExitStack) -> EpochMeter | None:
    """Return the energy meter of `device`, which `stack` closes; None if the recipe measures no energy."""
    if recipe.measure.energy == "off":
        return None
    return stack.enter_context(EpochMeter(device, estimate=recipe.measure.estimate_energy))


def train_one(
    job: Job,
    recipe: Recipe,
    run_data: RunData,
    folder: RunFolder,
    progress: Progress,
    meter: EnergyMeter | None,
) -> None:
    """Train a job, in several processes if it needs several; its teachers and parts are in the folder already."""
    dataset = run_data.dataset
    network = networks.initialized(job, run_data, folder)
    teacher_networks = [networks.trained(teacher, dataset, folder) for teacher in job.teachers] if job.learns else []
    terms = _terms(job, network, teacher_networks, run_data)
    training = resolved(training_of(job), network)
    device = device_of(training)
    placement = {"device": device, "channels_last": training.channels_last}
    part = run_data.part_of(job.entry.data)
    batches = run_data.batches(
        part.split, training.batch, train=True, augment=job.entry.data.augment,
        seed=job.seed, classes=dataset.classes, **placement,
    )  # fmt: skip
    teachers = build_teachers(job, teacher_networks, terms, batches, training, part.content, folder, progress)
    try:
        fit.fit(
            network,
            _objective(job, terms, teachers, training),
            batches,
            run_data.batches(run_data.validation, evaluation_batch(device, training.batch), **placement),
            training,
            seed=job.seed,
            folder=folder.checkpoint(job.id),
            key=job.key(recipe, run_data.content),
            progress=progress,
            meter=meter,
        )
    except DivergedError as error:
        raise DivergedError(f"{job.id}: {error.message}", error.hint) from error
