"""The one module that knows every stage: recipe → checkpoints → ONNX files → record → report.

Each stage reads what the one before left in the run's folder and leaves its own; a killed run goes on from
there. Nothing downstream reaches back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdbench import data, environment, models, records, report, storage
from kdbench.data.batches import Batches
from kdbench.data.dataset import Dataset, Split
from kdbench.data.split import cut_validation
from kdbench.distill import fit
from kdbench.distill.objective import Objective, student_objective
from kdbench.errors import DivergedError
from kdbench.export.onnx import export_onnx
from kdbench.export.parity import check_parity
from kdbench.measure.harness import Protocol, Subject, TestSet, measure
from kdbench.measure.target import inspect
from kdbench.progress import Progress, Silent
from kdbench.recipe import Recipe, Student, Teacher
from kdbench.records import Measurement, ModelCard, Preprocessing, RunRecord, Warned
from kdbench.run_folder import RunFolder, choose_folder

PARITY_SAMPLES = 256
EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Job:
    """One model to be trained at one seed. `teacher` is the job it learns from and is compared with."""

    id: str
    entry: Teacher | Student
    seed: int
    teacher: "Job | None"

    @property
    def role(self) -> records.Role:
        """Whether the model teaches or learns."""
        return "student" if isinstance(self.entry, Student) else "teacher"

    def key(self, recipe: Recipe) -> str:
        """Return the hash of everything this training's result depends on."""
        learns = isinstance(self.entry, Student) and bool(self.entry.terms)
        return storage.content_hash(
            {
                "data": recipe.data.model_dump(mode="json", exclude={"root", "download"}),
                "model": self.entry.model_dump(mode="json", exclude={"name", "teacher"}),
                "seed": self.seed,
                "teacher": self.teacher.key(recipe) if self.teacher and learns else None,
            }
        )


@dataclass(frozen=True, eq=False)
class Material:
    """The data of a run, cut: training and validation part for the training, the test part for the end."""

    dataset: Dataset
    train: Split
    validation: Split
    preprocessing: Preprocessing

    def batches(self, split: Split, batch: int, **options: Any) -> Batches:
        """Return `split` in batches as a network sees it, normalised; `options` are those of `Batches`."""
        normalisation = {"mean": self.preprocessing.mean, "std": self.preprocessing.std}
        return Batches(split, batch=batch, **{"train": False, **normalisation, **options})

    def example(self, split: Split, samples: int) -> torch.Tensor:
        """Return the first `samples` images of `split` as a network sees them, (samples, C, H, W) float32."""
        return next(iter(self.batches(split, samples))).images


def plan(recipe: Recipe) -> list[Job]:
    """Return all trainings of a recipe in an order in which every teacher comes before its students.

    A model's id is its name; with several seeds, its name and seed.
    """
    jobs = []
    for seed in recipe.seeds:
        suffix = f"-seed{seed}" if len(recipe.seeds) > 1 else ""
        teachers = {t.name: Job(t.name + suffix, t, seed, None) for t in recipe.teacher}
        students = [Job(s.name + suffix, s, seed, teachers[recipe.teacher_of(s).name]) for s in recipe.student]
        jobs += [*teachers.values(), *students]
    return jobs


def train(
    recipe: Recipe,
    out: Path | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> Path:
    """Run the training stage alone and return the run's folder; `run` with `resume` goes on from it."""
    del command  # the record names it; training leaves none
    progress = progress or Silent()
    folder = _open(recipe, out, progress, resume=resume)
    with _disk_errors(folder):
        _train_all(recipe, load_material(recipe), folder, progress, stages_after=0)
    return folder.path


def run(
    recipe: Recipe,
    out: Path | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> tuple[RunRecord, Path]:
    """Train, export, measure and report a recipe; return the record and the run's folder.

    `resume` goes on with what `out` holds: trainings made under the same settings are kept. Raises a
    KdbenchError for whatever the user can mend; what was finished before it stays on disk.
    """
    progress = progress or Silent()
    folder = _open(recipe, out, progress, resume=resume)
    with _disk_errors(folder):
        material = load_material(recipe)
        jobs = _train_all(recipe, material, folder, progress, stages_after=3)
        progress.stage("export", len(jobs) + 1, len(jobs) + 3)
        exports = []
        for done, job in enumerate(jobs):
            progress.step(done, len(jobs), job.id)
            exports.append(_export(job, recipe, material, folder))
        progress.stage("measure", len(jobs) + 2, len(jobs) + 3)
        record = _measure(recipe, jobs, exports, material, folder, progress, command)
        progress.stage("report", len(jobs) + 3, len(jobs) + 3)
        report.write(record, folder.path)
    return record, folder.path


def load_material(recipe: Recipe) -> Material:
    """Load a recipe's data and cut the validation part off the training part."""
    wanted = recipe.data
    dataset = data.load(wanted.name, root=wanted.root, download=wanted.download, resize=wanted.resize, crop=wanted.crop)
    assert dataset.train is not None, "a loader that was asked for the training part gives it or says why not"
    train_part, validation = cut_validation(dataset.train, wanted.validation, wanted.split_seed)
    preprocessing = Preprocessing(mean=wanted.mean or dataset.mean, std=wanted.std or dataset.std)
    return Material(dataset, train_part, validation, preprocessing)


def _open(recipe: Recipe, out: Path | None, progress: Progress, *, resume: bool) -> RunFolder:
    folder = RunFolder(choose_folder(recipe.name, out, resume=resume))
    storage.make_folder(folder.path / "models")
    progress.folder(folder.path)
    storage.write_json(folder.marker, recipe.resolved())
    return folder


@contextmanager
def _disk_errors(folder: RunFolder) -> Iterator[None]:
    """Report what a library could not write as a storage error, with the folder and a remedy."""
    try:
        yield
    except OSError as error:
        raise storage.storage_error(error, Path(error.filename or folder.path)) from error


def _build(job: Job, dataset: Dataset) -> nn.Module:
    """Build a job's network with fresh weights that depend on nothing but the seed and the architecture."""
    torch.manual_seed(job.seed)
    return models.build(job.entry.model.name, dataset.input_shape, dataset.classes, **job.entry.model.options)


def _trained(job: Job, dataset: Dataset, folder: RunFolder) -> nn.Module:
    network = _build(job, dataset)
    fit.load_weights(network, folder.checkpoint(job.id))
    return network.eval()


def _objective(job: Job, network: nn.Module, teacher: nn.Module | None, material: Material) -> Objective:
    if not isinstance(job.entry, Student):
        return Objective(label_smoothing=job.entry.training.label_smoothing)
    return student_objective(job.entry, network, teacher, material.example(material.train, 2))


def _check(jobs: list[Job], material: Material) -> None:
    """Build every network and loss of the first seed once: what is misspelt fails before hours are spent."""
    for job in jobs:
        if job.seed == jobs[0].seed:
            teacher = _build(job.teacher, material.dataset) if job.teacher else None
            _objective(job, _build(job, material.dataset), teacher, material)
            fit.device_of(job.entry.training)


def _train_all(
    recipe: Recipe, material: Material, folder: RunFolder, progress: Progress, *, stages_after: int
) -> list[Job]:
    jobs = plan(recipe)
    _check(jobs, material)
    for number, job in enumerate(jobs, start=1):
        progress.stage(f"train {job.id}", number, len(jobs) + stages_after)
        if fit.finished(folder.checkpoint(job.id), job.key(recipe)):
            progress.note(f"{job.id}: already trained")
            continue
        _train(job, recipe, material, folder, progress)
    return jobs


def _train(job: Job, recipe: Recipe, material: Material, folder: RunFolder, progress: Progress) -> None:
    learns = isinstance(job.entry, Student) and job.entry.terms
    teacher = _trained(job.teacher, material.dataset, folder) if job.teacher and learns else None
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
            key=job.key(recipe),
            progress=progress,
        )
    except DivergedError as error:
        raise DivergedError(f"{job.id}: {error.message}", error.hint) from error


@dataclass(frozen=True)
class Exported:
    """A model file with its card, how far it strays from the network, and why it may not be measured, if so."""

    card: ModelCard
    parity: Measurement
    refused: str | None


def _export(job: Job, recipe: Recipe, material: Material, folder: RunFolder) -> Exported:
    network = _trained(job, material.dataset, folder)
    path = folder.model(job.id)
    export_onnx(network, material.dataset.input_shape, path)
    parity = check_parity(network, path, material.example(material.validation, PARITY_SAMPLES))
    refused = None
    finding = records.measured(job.id, "parity_max_abs", parity.max_abs, n=parity.samples, source="onnxruntime")
    if not parity.holds:
        refused = f"the ONNX file strays from the network by {parity.max_abs:.3g} (tolerance {parity.tolerance:.3g})"
        finding = records.missing(job.id, "parity_max_abs", refused, status="invalid", source="onnxruntime")
    facts = inspect(path, data_shape=material.dataset.input_shape)
    card = ModelCard(
        id=job.id,
        name=job.entry.name,
        role=job.role,
        parents=(job.teacher.id,) if job.teacher else (),
        architecture=job.entry.model.name,
        seed=job.seed,
        file=str(path.relative_to(folder.path)),
        sha256=facts.sha256,
        input_shape=material.dataset.input_shape,
        layout="NCHW",
        classes=material.dataset.classes,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        opset=facts.opset,
        preprocessing=material.preprocessing,
        training=fit.finished(folder.checkpoint(job.id), job.key(recipe)),
    )
    folder.write_card(card)
    return Exported(card, finding, refused)


def _measure(
    recipe: Recipe,
    jobs: list[Job],
    exports: list[Exported],
    material: Material,
    folder: RunFolder,
    progress: Progress,
    command: str,
) -> RunRecord:
    """Measure every model that passed the parity gate, and write the record and the samples."""
    admitted = {export.card.id for export in exports if export.refused is None}
    subjects = [
        Subject(
            card=export.card,
            path=folder.model(job.id),
            facts=inspect(folder.model(job.id), data_shape=material.dataset.input_shape),
            teacher=job.teacher.id if job.teacher and job.teacher.id in admitted else None,
            # Latency does not depend on the weights: one seed's models stand for all.
            timed=job.seed == recipe.seeds[0],
        )
        for job, export in zip(jobs, exports, strict=True)
        if export.card.id in admitted
    ]
    test = material.dataset.test
    assert test is not None, "a loader that was asked for the test part gives it or says why not"
    protocol = Protocol(**recipe.measure.model_dump())
    here = environment.fingerprint()
    findings = measure(subjects, TestSet(test.images, test.labels), protocol, folder.workspace, progress)
    record = RunRecord(
        kind="run",
        name=recipe.name,
        title=recipe.title,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        recipe=recipe.resolved(),
        recipe_hash=recipe.hash(),
        protocol=recipe.measure.model_dump(mode="json"),
        environment=here,
        models=tuple(export.card for export in exports),
        measurements=(*_own_findings(exports), *findings.measurements),
        pairs=tuple(findings.pairs),
        warnings=(*environment.stability(here), *findings.warnings, *_refusals(exports)),
    )
    folder.write_samples(findings.samples)
    record.write(folder.record)
    return record


def _own_findings(exports: list[Exported]) -> Iterator[Measurement]:
    """Yield what training and export found out, and the reason where a model went no further."""
    for export in exports:
        yield export.parity
        if export.card.training is not None:
            yield records.measured(export.card.id, "training_s", export.card.training.seconds, n=1, source="wall clock")
        if export.refused is not None:
            for metric in ("top1", "top5", "latency_p50_ns", "size_bytes", "macs", "energy_j"):
                yield records.missing(export.card.id, metric, export.refused, status="invalid")


def _refusals(exports: list[Exported]) -> Iterator[Warned]:
    for export in exports:
        if export.refused is not None:
            yield Warned(
                code="parity_failed",
                message=f"not measured: {export.refused}",
                remedy="check the network for operations that differ between training and export",
                model=export.card.id,
            )
