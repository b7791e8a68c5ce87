"""The training stage: every network of a recipe fitted, in order, what is already there kept."""

from contextlib import ExitStack

import torch
from torch import nn

from kdbench import models
from kdbench.data.dataset import Dataset
from kdbench.distill import fit
from kdbench.distill.objective import Objective, student_objective
from kdbench.errors import DivergedError
from kdbench.measure.energy.epochs import EpochMeter
from kdbench.pipeline.material import Material
from kdbench.pipeline.plan import Job
from kdbench.progress import Progress
from kdbench.recipe import Recipe, Student
from kdbench.run_folder import RunFolder

# Validation needs no gradients, so its batches may be larger than those of the training.
EVALUATION_BATCH = 512


def train_all(
    recipe: Recipe, jobs: list[Job], material: Material, folder: RunFolder, progress: Progress, *, stages_after: int
) -> None:
    """Train whatever of `jobs` the folder does not hold yet; `stages_after` are counted in the progress."""
    with ExitStack() as stack:
        meters: dict[str, EpochMeter | None] = {}
        for number, job in enumerate(jobs, start=1):
            progress.stage(f"train {job.id}", number, len(jobs) + stages_after)
            if fit.finished(folder.checkpoint(job.id), job.key(recipe, material.content)):
                progress.note(f"{job.id}: already trained")
                continue
            device = fit.device_of(job.entry.training).type
            if device not in meters:
                meters[device] = _meter(recipe, device, stack)
            _train(job, recipe, material, folder, progress, meters[device])


def trained_network(job: Job, dataset: Dataset, folder: RunFolder) -> nn.Module:
    """Return a finished job's network with its weights, on the CPU, in evaluation mode."""
    network = _build(job, dataset)
    fit.load_weights(network, folder.checkpoint(job.id))
    return network.eval()


def check(jobs: list[Job], material: Material) -> None:
    """Build every network and loss of the first seed once: what is misspelt fails before hours are spent."""
    for job in jobs:
        if job.seed == jobs[0].seed:
            teacher = _build(job.teacher, material.dataset) if job.teacher else None
            _objective(job, _build(job, material.dataset), teacher, material)
            fit.device_of(job.entry.training)


def _build(job: Job, dataset: Dataset) -> nn.Module:
    """Build a job's network with fresh weights that depend on nothing but the seed and the architecture."""
    torch.manual_seed(job.seed)
    return models.build(job.entry.model.name, dataset.input_shape, dataset.classes, **job.entry.model.options)


def _objective(job: Job, network: nn.Module, teacher: nn.Module | None, material: Material) -> Objective:
    if not isinstance(job.entry, Student):
        return Objective(label_smoothing=job.entry.training.label_smoothing)
    return student_objective(job.entry, network, teacher, material.example(material.train, 2))


def _meter(recipe: Recipe, device: str, stack: ExitStack) -> EpochMeter | None:
    """Return the meter of what is computed on `device`, closed with `stack`; None where energy was not asked for."""
    if recipe.measure.energy == "off":
        return None
    return stack.enter_context(EpochMeter(device, estimate=recipe.measure.estimate_energy))


def _train(
    job: Job,
    recipe: Recipe,
    material: Material,
    folder: RunFolder,
    progress: Progress,
    meter: EpochMeter | None,
) -> None:
    learns = isinstance(job.entry, Student) and job.entry.terms
    teacher = trained_network(job.teacher, material.dataset, folder) if job.teacher and learns else None
    network = _build(job, material.dataset)
    objective = _objective(job, network, teacher, material)
    training = job.entry.training
    placed = {"device": fit.device_of(training), "channels_last": training.channels_last}
    shuffled = material.batches(
        material.train, training.batch, train=True, augment=recipe.data.augment, seed=job.seed, **placed
    )
    try:
        fit.fit(
            network,
            objective,
            shuffled,
            material.batches(material.validation, max(training.batch, EVALUATION_BATCH), **placed),
            training,
            seed=job.seed,
            folder=folder.checkpoint(job.id),
            key=job.key(recipe, material.content),
            progress=progress,
            meter=meter,
        )
    except DivergedError as error:
        raise DivergedError(f"{job.id}: {error.message}", error.hint) from error
