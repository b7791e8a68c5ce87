"""The training stage: trains every network of a recipe in order, except those that the run's folder holds already."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from kdbench import models, storage
from kdbench.data.augment import require_images
from kdbench.distill.class_weights import class_weights
from kdbench.distill.initial_weights import require_same_shape
from kdbench.distill.method import MethodContext
from kdbench.distill.module_paths import require_known_paths
from kdbench.distill.objective import Objective, ScheduledTerm, student_objective, student_terms
from kdbench.distill.tasks import TASKS, require_task
from kdbench.distill.teaching.teachers import freeze
from kdbench.distill.training import fit
from kdbench.distill.training.devices import device_of, evaluation_batch, processes_of, resolved
from kdbench.distill.training.metering import NO_METER, EnergyMeter, Unmetered
from kdbench.distill.training.processes import process_group, world_size
from kdbench.errors import DivergedError, InputError
from kdbench.machine.waiting import settle_waiting
from kdbench.measure.energy.training import EpochMeter
from kdbench.modelfile.facts import ModelFacts
from kdbench.plugins import Recording, Source, recording, sources_of
from kdbench.plugins.seeding import seeded
from kdbench.progress import Progress
from kdbench.recipe import Model, Recipe, Student, Trained
from kdbench.results import cards
from kdbench.results.cards import EnergyUse
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.export_ahead import ExportAhead
from kdbench.workflows.stages.launch import train_in_processes
from kdbench.workflows.stages.tracking import trackers_of
from kdbench.workflows.study import networks
from kdbench.workflows.study.model_sources import file_hash
from kdbench.workflows.study.network_checks import SAMPLES, require_usable
from kdbench.workflows.study.plan import Job, training_of
from kdbench.workflows.study.ready_teachers import TeacherForm, form_of, is_onnx_teacher, onnx_network
from kdbench.workflows.study.run_data import RunData
from kdbench.workflows.study.user_code_checks import require_usable_methods, require_usable_transform

BuildPeer = Callable[[Model | None, int], nn.Module]
Trainings = Mapping[str, Sequence[Source]]  # complete ones, by the job's id, with the code that they ran

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
    """Train the `jobs` that the folder does not hold yet; `stages_after` more stages count in the progress.

    `ahead` is asked for the export of every network that is trained here.
    """
    ahead = ahead or ExportAhead()
    with ExitStack() as stack:
        meters: dict[str, EnergyMeter] = {}
        slowed = settle_waiting().note
        for number, job in enumerate(jobs, start=1):
            progress.stage(f"train {job.id}", number, len(jobs) + stages_after)
            if job.logits is not None or is_onnx_teacher(job):
                continue
            if fit.finished(folder.checkpoint(job.id), job.key(recipe, run_data.content)):
                progress.note(f"{job.id}: already trained")
                _ask(ahead, job, folder)
                continue
            if job.entry.is_ready:
                adopt(job, recipe, run_data, folder)
                continue
            training = training_of(job)
            count, device = processes_of(training), device_of(training).type
            if slowed and device == "cpu":
                progress.note(slowed)
                slowed = ""
            if count == 1 and device not in meters:
                meters[device] = _meter(recipe, device, stack)
            if count > 1 and world_size() == 1:
                train_in_processes(job.id, count, folder, progress)
            else:
                train_one(job, recipe, run_data, folder, progress, meters[device] if count == 1 else UNMETERED)
            _ask(ahead, job, folder)


def _ask(ahead: ExportAhead, job: Job, folder: RunFolder) -> None:
    """Ask for the export of a trained job, unless it is a part, which stays inside another, or runs user code."""
    if job.part is None and not job.entry.is_ready and not job.code:
        ahead.ask(job.id, folder)


def check(jobs: list[Job], run_data: RunData, trained: Trainings | None = None) -> dict[str, Recording]:
    """Build and try every entry's network and loss once, so that a mistake in a recipe fails before anything trains.

    Networks of the jobs that are `trained` are known to export, as long as their code is the same. Return the user code
    of each entry, by name, with the files that it reads on the way.
    """
    trained = trained or {}
    recordings: dict[str, Recording] = {}
    distinct: dict[tuple[str, bool], Job] = {}
    for job in jobs:
        distinct.setdefault((job.entry.name, job.part is None), job)  # seeds and parts do not differ
    tried: set[str] = set()
    teaching: dict[str, nn.Module] = {}
    for job in distinct.values():
        require_task(run_data.dataset.task, job.entry.name, job.entry.data, training_of(job))
        require_images(job.entry.data.augment, run_data.dataset, job.entry.name)
        if job.logits is not None:
            recordings[job.entry.name] = Recording()
            continue
        form = form_of(job, run_data)
        require_vocabulary(job.entry, run_data, None if form is None else form.facts)
        _class_weights(job, run_data)
        with recording() as of_network:
            with recording() as of_building:
                if form is not None and form.facts is not None:
                    network: nn.Module = onnx_network(job, form)
                else:
                    network, _ = networks.from_weights(job, run_data.dataset)
            if not job.entry.is_ready:
                require_known_paths(network, training_of(job), job.entry.name)
            exports = job.id in trained and set(sources_of(of_building)) <= set(trained[job.id])
            _try(network, job, run_data, tried, form, exported=job.part is None and not exports)
        build = partial(_tried_peer, job, run_data, tried)
        teachers = _untrained_teachers(job, run_data, teaching)
        with recording() as of_terms:
            terms = _terms(job, network, teachers, run_data, build)
            require_usable_transform(job.entry, job.seed, run_data)
            require_usable_methods(job, terms, network, teachers, run_data)
        recordings[job.entry.name] = of_network | of_terms | recordings.get(job.entry.name, Recording())
        if not job.parts:
            networks.is_cached(job.entry, terms, training_of(job))
        for teacher in job.teachers if any(term.method.needs_teacher for term in terms) else ():
            if teacher.logits is not None:
                networks.stored_teacher(job, teacher, run_data)
        if job.start is not None:
            _require_start(job, job.start, network, run_data)
        device_of(training_of(job))
    return recordings


def _require_start(job: Job, start: Job, network: nn.Module, run_data: RunData) -> None:
    """Raise InputError where `network` cannot begin with weights of `start`: it has another shape or another input."""
    if not (isinstance(job.entry, Student) and job.entry.prune is not None):
        require_same_shape(network, networks.quantized_like(networks.fresh(start, run_data.dataset), job))
    elif form_of(start, run_data) is not None:
        message = f"student {job.entry.name!r} is pruned from {start.entry.name!r}, whose input or classes differ"
        hint = "fine-tune a student from its weights first (weights = FILE), and prune that one"
        raise InputError(f"{message} from the data's", hint)


def _untrained_teachers(job: Job, run_data: RunData, built: dict[str, nn.Module]) -> list[nn.Module]:
    """Return the networks of the teachers that a job learns from, before training; `built` keeps them by id."""
    teachers = job.teachers if job.learns else ()
    for teacher in teachers:
        if teacher.id not in built:
            built[teacher.id] = networks.teaching(teacher, run_data, None)
    return [built[teacher.id] for teacher in teachers]


def require_vocabulary(entry: Trained, run_data: RunData, facts: ModelFacts | None = None) -> None:
    """Raise InputError for token ids where the network, or the ONNX file with `facts`, takes none, or too few."""
    dataset = run_data.dataset
    if dataset.layout != "tokens":
        return
    name = entry.model.name
    if facts is None and not models.takes_tokens(name):
        message = f"{entry.name}: model {name!r} takes numbers, and the inputs are token ids"
        raise InputError(message, 'use gru or lstm with a vocabulary; data.layout = "vectors" makes them numbers')
    parts = (part for part in (run_data.train, run_data.validation, dataset.test) if part is not None)
    needed = 1 + max(int(part.inputs.max()) for part in parts)
    known = entry.model.options.get("vocabulary") if facts is None else facts.vocabulary
    if isinstance(known, int) and known < needed:
        message = f"{entry.name}: token ids go up to {needed - 1}, and vocabulary is {known}"
        hint = f"set vocabulary = {needed} or more" if facts is None else "choose the data that the file was made for"
        raise InputError(message, hint)


def _try(
    network: nn.Module, job: Job, run_data: RunData, tried: set[str], form: TeacherForm | None, *, exported: bool
) -> None:
    """Raise InputError for a network of `job` that cannot be used; equal ones, in `tried`, are not tried again.

    `form` describes a ready teacher whose input and outputs differ from the students'.
    """
    model = job.entry.model_dump(mode="json", include={"model", "quantize", "prune", "sub_students", "input"})
    trains = not job.entry.is_ready
    model["weights"], model["trains"] = None if job.weights is None else file_hash(job.weights), trains
    key = storage.content_hash({**model, "exported": exported, "part": job.part is not None})
    if key not in tried:
        tried.add(key)
        example = run_data.example(run_data.train, SAMPLES)
        dataset, options = run_data.dataset, {"trains": trains, "exported": exported}
        outputs = dataset.outputs
        if form is not None:
            example, outputs = form.example(example), form.outputs
        require_usable(network, example, outputs, job.entry.name, task=dataset.task, **options)


def _tried_peer(job: Job, run_data: RunData, tried: set[str], model: Model | None, number: int) -> nn.Module:
    """Build a peer as `networks.build_peer` does, and try it."""
    peer = networks.build_peer(job, run_data.dataset, model, number)
    if model is not None:
        entry = job.entry.model_copy(update={"model": model, "name": f"a peer of {job.entry.name}"})
        _try(peer, replace(job, entry=entry, weights=None), run_data, tried, None, exported=False)
    return peer


def _class_weights(job: Job, run_data: RunData) -> tuple[float, ...] | None:
    """Return the weights of the classes in a job's training; raises InputError for another number of them."""
    setting, part = training_of(job).class_weights, run_data.part_of(job.entry.data)
    weights = class_weights(setting, part.split.labels, run_data.dataset.classes, job.entry.name)
    if weights is not None and not any(weights[label] for label in np.unique(run_data.validation.labels)):
        message = f"{job.entry.name}: training.class_weights gives no weight to any class of the validation part"
        raise InputError(message, "train on some samples of those classes: a larger data.subset, or a list of weights")
    return weights


def _terms(
    job: Job, network: nn.Module, teachers: Sequence[nn.Module], run_data: RunData, build: BuildPeer | None = None
) -> tuple[ScheduledTerm, ...]:
    """Return the terms of a student's loss; none for teachers and for fused parts, which learn from the labels.

    `build` replaces what makes further networks for the same data.
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


def _meter(recipe: Recipe, device: str, stack: ExitStack) -> EnergyMeter:
    """Return the energy meter of `device`, which `stack` closes."""
    if recipe.measure.energy == "off":
        return NO_METER
    return stack.enter_context(EpochMeter(device, estimate=recipe.measure.estimate_energy))


def train_one(
    job: Job, recipe: Recipe, run_data: RunData, folder: RunFolder, progress: Progress, meter: EnergyMeter
) -> None:
    """Train a job, in several processes if it needs several; its teachers and parts are in the folder already."""
    dataset, task = run_data.dataset, TASKS[run_data.dataset.task]
    network = networks.initialized(job, run_data, folder)
    if job.weights is not None:
        progress.note(f"{job.id} {networks.origin(job, dataset).shown}")
    teacher_networks = [networks.teaching(teacher, run_data, folder) for teacher in job.teachers] if job.learns else []
    terms = _terms(job, network, teacher_networks, run_data)
    training = resolved(training_of(job), network)
    device = device_of(training)
    placement = {"device": device, "channels_last": training.channels_last}
    part, weights = run_data.part_of(job.entry.data), _class_weights(job, run_data)
    batches = run_data.batches(
        part.split, training.batch, train=True, augment=job.entry.data.augment, seed=job.seed,
        classes=dataset.classes, class_weights=weights, accumulate=training.accumulate, **placement,
    )  # fmt: skip
    teachers = networks.build_teachers(job, teacher_networks, terms, batches, training, run_data, folder, progress)
    if isinstance(job.entry, Student) and not job.parts:
        objective = student_objective(job.entry, terms, teachers, task, weights)
    else:
        mixed = job.entry.data.augment.mixes
        smoothing = training.label_smoothing
        objective = Objective(label_smoothing=smoothing, mixed_labels=mixed, class_weights=weights, task=task)
    validation = run_data.batches(run_data.validation, evaluation_batch(device, training.batch), **placement)
    place, key = folder.checkpoint(job.id), job.key(recipe, run_data.content)
    options: dict[str, Any] = {"seed": job.seed, "folder": place, "key": key, "progress": progress, "meter": meter}
    try:
        with trackers_of(job, recipe, key, folder, progress) as trackers:
            fit.fit(network, objective, batches, validation, training, logs=trackers, **options)
    except DivergedError as error:
        raise DivergedError(f"{job.id}: {error.message}", error.hint) from error


def adopt(job: Job, recipe: Recipe, run_data: RunData, folder: RunFolder) -> None:
    """Write the weights of a ready job's file to the folder, as those of a training of 0 epochs."""
    network, _ = networks.from_weights(job, run_data.dataset)
    key = job.key(recipe, run_data.content)
    process_group().on_rank_zero(lambda: fit.adopt(network, folder.checkpoint(job.id), key, seed=job.seed))


def training_summary(job: Job, recipe: Recipe, run_data: RunData, folder: RunFolder) -> cards.Training | None:
    """Return the summary of a job's complete training, its sub-networks' included; None without."""
    if job.entry.is_ready:
        return None
    training = fit.finished(folder.checkpoint(job.id), job.key(recipe, run_data.content))
    parts = [summary for part in job.parts if (summary := training_summary(part, recipe, run_data, folder)) is not None]
    return merge_part_training(training, parts) if training is not None and parts else training


def merge_part_training(fused: cards.Training, parts: Sequence[cards.Training]) -> cards.Training:
    """Return the summary of a fused network's training: its parts' seconds and joules added, their objective first.

    Energy is known only for sources that metered every part.
    """
    trainings = (*parts, fused)
    energy = _sum_uses([training.energy for training in trainings])
    reasons = [training.unmetered for training in trainings if training.unmetered is not None]
    part = parts[0]
    parts_objective = f"{len(parts)} parts alone, {part.epochs} epochs each: {part.objective}"
    update = {
        "objective": f"{parts_objective}; fused: {fused.objective}",
        "seconds": sum(training.seconds for training in trainings),
        "energy": energy,
        "unmetered": None if energy else next(iter(reasons), "its parts were metered by different sources"),
        "teacher": part.teacher,
        "teacher_s": sum(training.teacher_s for training in trainings),
    }
    return fused.model_copy(update=update)


def _sum_uses(uses: Sequence[tuple[EnergyUse, ...]]) -> tuple[EnergyUse, ...]:
    """Return the sums of the uses that every training has; uncertainties of one meter add up."""
    by_meter = defaultdict(list)
    for use in chain.from_iterable(uses):
        by_meter[use.source, use.scope].append(use)
    sums = []
    for same in by_meter.values():
        if len(same) == len(uses):
            total = {name: sum(getattr(use, name) for use in same) for name in ("energy_j", "half_width_j")}
            sums.append(same[0].model_copy(update=total))
    return tuple(sums)
