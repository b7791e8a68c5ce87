"""The export stage: an ONNX file and a card for every trained network, and the parity gate."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.distill.quantize import deployed, rounding_sensitivity
from kdbench.distill.training import fit
from kdbench.export.onnx import Parity, check_parity, export_onnx
from kdbench.files import storage
from kdbench.modelfile.facts import ModelFacts, inspect
from kdbench.progress import Progress
from kdbench.recipe import Recipe, Student
from kdbench.report.figures.drawing import load_drawing
from kdbench.results import records
from kdbench.results.cards import Bits, CodeFile, ModelCard, Origin
from kdbench.results.records import Measurement
from kdbench.results.run_folder import RunFolder, card_path
from kdbench.workflows.stages.export_ahead import ExportAhead
from kdbench.workflows.stages.training_summary import training_summary
from kdbench.workflows.study.model_sources import external_locations, file_hash
from kdbench.workflows.study.networks import architecture, origin, trained
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.pretrained_teachers import bench_model
from kdbench.workflows.study.pruned import pruning_of
from kdbench.workflows.study.run_data import RunData
from kdbench.workflows.study.teacher_forms import TeacherForm, form_of

PARITY_SAMPLES = 256


@dataclass(frozen=True)
class Exported:
    """A model file with its job and card, and its deviation from the network (`parity`).

    `parity` is None for a ready ONNX file, which has no network. `refused` is why the file may not be measured, or
    None; `is_finite` is whether the logits were finite. `form` describes a pretrained teacher whose input and outputs
    differ from those of the students.
    """

    job: Job
    card: ModelCard
    facts: ModelFacts
    parity: Measurement | None
    refused: str | None
    is_finite: bool = True
    form: TeacherForm | None = None


@dataclass(frozen=True)
class WrittenModel:
    """The result of exporting a network: the file's `parity` with it, and the number of the network's `parameters`."""

    parity: Parity
    parameters: int


def export_all(
    recipe: Recipe,
    jobs: list[Job],
    run_data: RunData,
    folder: RunFolder,
    progress: Progress,
    ahead: ExportAhead | None = None,
) -> list[Exported]:
    """Export every job's network, also over existing files: exporting is quick, and a stale file would mislead.

    Files that `ahead` wrote are not exported again.
    """
    exports, ahead = [], ahead or ExportAhead()
    # The parts of fused networks are not measured, and a teacher that is an array has nothing to measure.
    jobs = [job for job in jobs if job.part is None and job.logits is None]
    for done, job in enumerate(jobs):
        progress.step(done, len(jobs), job.id)
        if ahead.is_awaited(job.id):
            load_drawing()  # the report needs it, and this process has nothing else to do
        known = ahead.written(job.id)
        exports.append(export_one(job, recipe, run_data, folder, None if known is None else written_from(known)))
    ahead.end()
    return exports


def export_one(
    job: Job, recipe: Recipe, run_data: RunData, folder: RunFolder, written: WrittenModel | None = None
) -> Exported:
    """Return the file of one job's network with its card; the file is exported unless it is `written` already."""
    form = form_of(job, run_data)
    if form is not None and form.facts is not None:
        return _copied_teacher(job, form, form.facts, run_data, folder)
    path, dataset = folder.model(job.id), run_data.dataset
    written = written or write_file(job, form, run_data, folder)
    measurement, refused = _parity_gate(job.id, written.parity)
    shape = dataset.input_shape if form is None else form.shape
    facts = inspect(path, data_shape=shape, data_layout=dataset.layout, targets=len(_targets(run_data)))
    card = _card(job, recipe, run_data, folder, form, facts, written.parameters)
    card.write(card_path(path))
    if form is not None:
        form.describe(path)
    return Exported(job, card, facts, measurement, refused, written.parity.is_finite, form)


def _parity_gate(id_: str, parity: Parity) -> tuple[Measurement, str | None]:
    """Return a file's deviation from its network, and why it may not be measured, or None."""
    if parity.holds:
        return records.measured(id_, "parity_max_abs", parity.max_abs, n=parity.samples, source="onnxruntime"), None
    refused = "its logits on real inputs are NaN or infinite"
    if parity.is_finite:
        difference = f"{parity.difference:.3g} (tolerance {parity.tolerance:.3g})"
        refused = f"the ONNX file differs from the network by {difference}"
    return records.missing(id_, "parity_max_abs", refused, status="invalid", source="onnxruntime"), refused


def _card(
    job: Job,
    recipe: Recipe,
    run_data: RunData,
    folder: RunFolder,
    form: TeacherForm | None,
    facts: ModelFacts,
    parameters: int,
) -> ModelCard:
    """Return the card of a job's exported network, which has `parameters` parameters."""
    dataset, model, targets = run_data.dataset, architecture(job.entry), _targets(run_data)
    shape, classes, preprocessing = dataset.input_shape, dataset.classes, run_data.preprocessing
    if form is not None:
        shape, classes, preprocessing = form.shape, form.outputs, form.preprocessing
    return ModelCard(
        id=job.id,
        name=job.entry.name,
        role="student" if isinstance(job.entry, Student) else "teacher",
        parents=(job.teacher.id,) if job.teacher else (),
        teachers=tuple(teacher.id for teacher in job.teachers) if job.learns else (),
        architecture=model.name,
        options=model.options,
        bits=_bits(job),
        pruned=pruning_of(job, folder),
        code=tuple(CodeFile(name=source.name, sha256=source.sha256) for source in job.code),
        family=job.entry.family,
        axes=job.entry.axes,
        weights=str((folder.checkpoint(job.id) / fit.WEIGHTS).relative_to(folder.path)),
        origin=None if job.weights is None else origin(job, dataset),
        seed=job.seed,
        file=str(folder.model(job.id).relative_to(folder.path)),
        sha256=facts.sha256,
        input_shape=shape,
        layout=dataset.layout,
        classes=None if targets else classes,
        targets=targets,
        parameters=parameters,
        opset=facts.opset,
        preprocessing=preprocessing,
        training=training_summary(job, recipe, run_data, folder),
    )


def _targets(run_data: RunData) -> tuple[str, ...]:
    """Return the names of a regression's targets; none for classes."""
    return run_data.dataset.class_names if run_data.dataset.task == "regression" else ()


def written_from(known: Mapping[str, Any]) -> WrittenModel:
    """Return the `WrittenModel` that another process wrote as JSON values."""
    return WrittenModel(Parity(**known["parity"]), known["parameters"])


def _copied_teacher(job: Job, form: TeacherForm, facts: ModelFacts, run_data: RunData, folder: RunFolder) -> Exported:
    """Copy a teacher that is an ONNX file into the run's folder, with its card."""
    assert job.weights is not None, "an ONNX teacher has a file"
    path = folder.model(job.id)
    storage.make_folder(path.parent)
    for location, source in external_locations(job.weights).items():
        storage.make_folder((path.parent / location).parent)
        _copy(source, path.parent / location)
    _copy(job.weights, path)
    targets = _targets(run_data)
    fields = {
        "family": job.entry.family,
        "axes": job.entry.axes,
        "origin": Origin(file=job.weights.name, sha256=file_hash(job.weights)),
        "seed": job.seed,
        "file": str(path.relative_to(folder.path)),
        "classes": None if targets else form.outputs,
        "targets": targets,
        "opset": facts.opset,
    }
    card = bench_model(job, form).card.model_copy(update=fields)
    card.write(card_path(path))
    form.describe(path)
    return Exported(job, card, facts, None, None, form=form)


def _copy(source: Path, target: Path) -> None:
    """Copy a file unless an equal one exists already: another process may be reading it."""
    if not target.exists() or storage.sha256(target) != storage.sha256(source):
        with storage.replacing(target) as part:
            shutil.copyfile(source, part)


def write_file(job: Job, form: TeacherForm | None, run_data: RunData, folder: RunFolder) -> WrittenModel:
    """Export a job's trained network to its file in the run's folder, and compare the two."""
    network = trained(job, run_data.dataset, folder)
    path = folder.model(job.id)
    images, shape = run_data.example(run_data.validation, PARITY_SAMPLES), run_data.dataset.input_shape
    if form is not None:
        images, shape = form.inputs(images), form.shape
    export_onnx(deployed(network), shape, path, images.dtype)
    parity = check_parity(network, path, images, rounding=rounding_sensitivity(network, images))
    return WrittenModel(parity, sum(parameter.numel() for parameter in network.parameters()))


def _bits(job: Job) -> Bits | None:
    options = job.entry.quantize if isinstance(job.entry, Student) else None
    if options is None:
        return None
    return Bits(weights=options.weight_bits, activations=options.activation_bits, first_last=options.first_last_bits)
