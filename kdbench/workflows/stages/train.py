"""The training stage: train every network of a recipe in order, except those that the run's folder holds already."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from kdbench import plugins
from kdbench.data.batches import Batches
from kdbench.distill.class_weights import class_weights
from kdbench.distill.method import MethodContext
from kdbench.distill.objective import Objective, ScheduledTerm, student_objective, student_terms
from kdbench.distill.tasks import TASKS, Task
from kdbench.distill.teaching.teachers import Teacher, freeze
from kdbench.distill.training import fit
from kdbench.distill.training.curves import CurveLog
from kdbench.distill.training.devices import device_of, evaluation_batch, processes_of, resolved
from kdbench.distill.training.metering import NO_METER, EnergyMeter, Unmetered
from kdbench.distill.training.processes import process_group, world_size
from kdbench.errors import DivergedError, InputError
from kdbench.machine.openmp import configure_openmp
from kdbench.measure.energy.training import EpochMeter
from kdbench.plugins.seeding import seeded
from kdbench.progress import Progress
from kdbench.recipe import Model, Recipe, Student, Training
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.export_ahead import ExportAhead
from kdbench.workflows.stages.launch import train_in_processes
from kdbench.workflows.stages.tracking import trackers_of
from kdbench.workflows.study import networks
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.pruned import timing_of
from kdbench.workflows.study.run_data import RunData
from kdbench.workflows.study.teacher_forms import is_onnx_teacher
from kdbench.workflows.study.teachers import build_teachers

BuildPeer = Callable[[Model | None, int], nn.Module]

UNMETERED = Unmetered("a training on several devices is not metered")


def train_all(
    recipe: Recipe,
    jobs: list[Job],
    run_data: RunData,
    folder: RunFolder,
    progress: Progress,
    *,
    stages_after: int,
    ahead: ExportAhead | None = None,
) -> None:
    """Train the `jobs` that the folder does not hold yet, and let `ahead` export their networks.

    The progress counts `stages_after` more stages.
    """
    ahead = ahead or ExportAhead()
    with ExitStack() as stack:
        meters: dict[str, EnergyMeter] = {}
        openmp_note = configure_openmp().note
        for number, job in enumerate(jobs, start=1):
            progress.stage(f"train {job.id}", number, len(jobs) + stages_after)
            if job.logits is not None or is_onnx_teacher(job):
                continue
            if fit.finished(folder.checkpoint(job.id), job.key(recipe, run_data.content)):
                fit.require_unchanged(folder.checkpoint(job.id))
                progress.note(f"{job.id}: already trained")
                _request_export(ahead, job, folder)
                continue
            if job.entry.is_ready:
                adopt(job, recipe, run_data, folder)
                continue
            training = job.training
            count, device = processes_of(training), device_of(training).type
            if openmp_note and device == "cpu":
                progress.note(openmp_note)
                openmp_note = ""
            if count == 1 and device not in meters:
                meters[device] = meter_of(recipe, device, stack)
            if count > 1 and world_size() == 1:
                train_in_processes(job.id, count, folder, progress, run_data.content)
            else:
                train_one(job, recipe, run_data, folder, progress, meters[device] if count == 1 else UNMETERED)
            _request_export(ahead, job, folder)


def _request_export(ahead: ExportAhead, job: Job, folder: RunFolder) -> None:
    """Request the export of a trained job, unless it is a part of a fused network or runs user code."""
    if job.part is None and not job.entry.is_ready and not job.code:
        ahead.request(job.id, folder)


def class_weights_of(job: Job, run_data: RunData) -> tuple[float, ...] | None:
    """Return the weights of the classes in a job's training; raises InputError if they do not fit the classes."""
    setting, part = job.training.class_weights, run_data.part_of(job.entry.data)
    weights = class_weights(setting, part.split.labels, run_data.dataset.classes, job.entry.name)
    if weights is not None and not any(weights[label] for label in np.unique(run_data.validation.labels)):
        message = f"{job.entry.name}: training.class_weights gives no weight to any class of the validation part"
        raise InputError(message, "train on some samples of those classes: a larger data.subset, or a list of weights")
    return weights


def terms_of(
    job: Job, network: nn.Module, teachers: Sequence[nn.Module], run_data: RunData, build: BuildPeer | None = None
) -> tuple[ScheduledTerm, ...]:
    """Return the terms of a student's loss; none for teachers and fused networks, which learn from the labels.

    `build` replaces the function that builds further networks for the same data.
    """
    if not isinstance(job.entry, Student) or job.parts:
        return ()
    part = run_data.part_of(job.entry.data)
    example, labels = run_data.example(part.split, 2), torch.from_numpy(part.split.labels)
    build = build or partial(networks.build_peer, job, run_data.dataset)
    outputs, task = run_data.dataset.outputs, run_data.dataset.task
    context = MethodContext(
        network, tuple(freeze(teacher) for teacher in teachers), example, labels, outputs, build, task
    )
    with seeded(job.seed):
        return student_terms(job.entry, context)


def meter_of(recipe: Recipe, device: str, stack: ExitStack) -> EnergyMeter:
    """Return the energy meter of `device`, which `stack` closes."""
    if recipe.measure.energy == "off":
        return NO_METER
    return stack.enter_context(EpochMeter(device, estimate=recipe.measure.estimate_energy))


def train_one(
    job: Job,
    recipe: Recipe,
    run_data: RunData,
    folder: RunFolder,
    progress: Progress,
    meter: EnergyMeter,
    logs: Sequence[CurveLog] = (),
) -> None:
    """Train a job, in this process or as one of several; its teachers and parts are in the folder already.

    `logs` receive its curve, in addition to the recipe's trackers.
    """
    timing = timing_of(job, recipe, run_data, folder, progress)
    network = networks.initialized(job, run_data, folder, timing)
    if job.weights is not None:
        progress.note(f"{job.id} {networks.origin(job, run_data.dataset).shown}")
    teacher_networks = (
        [networks.teacher_network(teacher, run_data, folder) for teacher in job.teachers] if job.learns else []
    )
    terms = terms_of(job, network, teacher_networks, run_data)
    training = resolved(job.training, network, run_data.example(run_data.train, 1))
    weights = class_weights_of(job, run_data)
    batches, validation = _batches(job, run_data, training, weights)
    teachers = build_teachers(job, teacher_networks, terms, batches, training, run_data, folder, progress)
    objective = _objective(job, terms, teachers, training, TASKS[run_data.dataset.task], weights)
    key = job.key(recipe, run_data.content)
    options: dict[str, Any] = {"seed": job.seed, "key": key, "progress": progress, "meter": meter}
    with _failures_named(job.id), trackers_of(job, recipe, key, folder, progress) as trackers:
        options |= {"folder": folder.checkpoint(job.id), "logs": (*trackers, *logs)}
        fit.fit(network, objective, batches, validation, training, **options)


def _batches(
    job: Job, run_data: RunData, training: Training, class_weights: tuple[float, ...] | None
) -> tuple[Batches, Batches]:
    """Return the batches of a job's training part and those of the validation part."""
    device = device_of(training)
    placement = {"device": device, "channels_last": training.channels_last}
    part = run_data.part_of(job.entry.data)
    batches = run_data.batches(
        part.split, training.batch, train=True, augment=job.entry.data.augment, seed=job.seed,
        classes=run_data.dataset.classes, class_weights=class_weights, accumulate=training.accumulate, **placement,
    )  # fmt: skip
    validation = run_data.batches(run_data.validation, evaluation_batch(device, training.batch), **placement)
    return batches, validation


def _objective(
    job: Job,
    terms: Sequence[ScheduledTerm],
    teachers: Sequence[Teacher],
    training: Training,
    task: Task,
    weights: tuple[float, ...] | None,
) -> Objective:
    """Return the objective of a job: of teachers and fused networks, the loss on the labels."""
    if isinstance(job.entry, Student) and not job.parts:
        return student_objective(job.entry, terms, teachers, task, weights)
    mixed, smoothing = job.entry.data.augment.mixes, training.label_smoothing
    return Objective(label_smoothing=smoothing, mixed_labels=mixed, class_weights=weights, task=task)


@contextmanager
def _failures_named(id_: str) -> Iterator[None]:
    """Raise a divergence, and an error of a user's code, with the id of the job that it ends."""
    try:
        yield
    except DivergedError as error:
        raise DivergedError(f"{id_}: {error.message}", error.hint) from error
    except Exception as error:
        if not plugins.raised_by_user_code(error):
            raise
        message = f"{id_}: its code failed during the training: {plugins.describe_failure(error)}"
        raise InputError(message, plugins.location(error)) from error


def adopt(job: Job, recipe: Recipe, run_data: RunData, folder: RunFolder) -> None:
    """Write the weights of a ready job's file to the folder, as those of a training of 0 epochs."""
    network, _ = networks.from_weights(job, run_data.dataset)
    key = job.key(recipe, run_data.content)
    process_group().on_rank_zero(fit.adopt, network, folder.checkpoint(job.id), key, seed=job.seed)
