"""The tasks of a sweep, as messages of JSON values: train and export one job, or measure one part.

`perform` is the same function in every process and on every machine that shares the run's folder. It first checks
whether the result exists, so that a task may run again after any outcome.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch

from kdbench.distill.training import fit
from kdbench.distill.training.devices import device_of, processes_of
from kdbench.distill.training.metering import EnergyMeter, Unmetered
from kdbench.errors import InputError, KdbenchError
from kdbench.files import storage
from kdbench.processes.locks import locked
from kdbench.progress import Progress
from kdbench.recipe import Recipe
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import write_samples
from kdbench.workflows.searching.halving import Halving, PrunedError
from kdbench.workflows.stages.compress import compress_all
from kdbench.workflows.stages.export import Exported, export_one, write_file
from kdbench.workflows.stages.launch import train_in_processes
from kdbench.workflows.stages.measure import measure_all
from kdbench.workflows.stages.train import adopt, meter_of, train_one
from kdbench.workflows.study.plan import Job, plan
from kdbench.workflows.study.run_data import RunData, load_run_data
from kdbench.workflows.study.teacher_forms import form_of, is_onnx_teacher
from kdbench.workflows.study.user_code import load_plugins, planned_job, read_code
from kdbench.workflows.sweeping.existing import EXPORT, PARTS, PartFolder, existing_export, write_export
from kdbench.workflows.sweeping.plan import Part, SweepPlan
from kdbench.workflows.sweeping.relative import relative_latencies

Message = Mapping[str, Any]

UNMETERED_IN_PARALLEL = Unmetered("trained while others trained, whose energy a meter would include")

_loaded: dict[str, RunData] = {}  # the data of this process's last task


def train_message(
    plan_: SweepPlan,
    job: Job,
    folder: RunFolder,
    *,
    threads: int,
    metered: bool,
    pruning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the task of training and exporting a job, with `threads` for torch if the recipe does not set them.

    `pruning` are the settings with which a search may end it early: see `Halving`.
    """
    recipe = plan_.sub_recipe((job.entry.name, *_variants_of(plan_, job)))
    return {
        "task": "train",
        "folder": str(folder.path.absolute()),  # a node has another current folder
        "recipe": recipe.resolved(),
        "job": job.id,
        "threads": threads,
        "metered": metered,
        "pruning": pruning,
        # A training that may end early does not always write these files.
        "leaves": []
        if pruning is not None
        else [f"checkpoints/{job.id}/{fit.SUMMARY}", f"checkpoints/{job.id}/{EXPORT}", f"models/{job.id}.onnx"],
    }


def measure_message(
    plan_: SweepPlan, part: Part, target: PartFolder, folder: RunFolder, *, command: str, threads: int
) -> dict[str, Any]:
    """Return the task of measuring a part, whose models are trained and exported, to the folder `target`.

    If the part is timed, its times are also measured relative to the reference that all timed parts share.
    """
    return {
        "task": "measure",
        "folder": str(folder.path.absolute()),  # a node has another current folder
        "recipe": plan_.sub_recipe(part.names).resolved(),
        "part": target.path.name,
        "jobs": [*part.companions, *part.jobs],
        "models": list(part.model_ids),
        "timed": list(part.timed),
        "reference": plan_.reference if plan_.reference in part.timed else None,
        "command": command,
        "threads": threads,
        "leaves": [f"{PARTS}/{target.path.name}/{file.name}" for file in (target.record, target.samples, target.ids)],
    }


def _variants_of(plan_: SweepPlan, job: Job) -> Sequence[str]:
    return plan_.variants_of.get(job.entry.name, ()) if job.part is None else ()


def perform(message: Message, progress: Progress) -> None:
    """Run a task, unless its result exists. Raises a KdbenchError if the task fails for a reason that users can fix."""
    folder = RunFolder(Path(message["folder"]))
    recipe = recipe_from(message["recipe"], "the task")
    torch.set_num_threads(message["threads"])  # as in one process: the number decides how sums are rounded
    load_plugins(recipe)
    run_data = _data_of(recipe)
    with storage.storage_errors(folder.path):
        if message["task"] == "train":
            _train(planned_job(recipe, message["job"], folder), message, recipe, run_data, folder, progress)
        else:
            _measure(message, recipe, run_data, folder, progress)


def _data_of(recipe: Recipe) -> RunData:
    key = storage.content_hash([recipe.data.model_dump(mode="json"), recipe.folder])
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = load_run_data(recipe)
    return _loaded[key]


def _train(
    job: Job, message: Message, recipe: Recipe, run_data: RunData, folder: RunFolder, progress: Progress
) -> None:
    if job.logits is not None:
        return
    storage.make_folder(folder.path / "models")
    with locked(storage.make_folder(folder.path / "checkpoints") / f".{job.id}.lock"):
        key = job.key(recipe, run_data.content)
        if not is_onnx_teacher(job) and fit.finished(folder.checkpoint(job.id), key) is None:
            try:
                _fit(job, message, recipe, run_data, folder, progress)
            except PrunedError as error:
                progress.note(str(error))
                return
        if job.part is not None:
            return
        exported = _exported(job, recipe, run_data, folder, progress)
        with suppress(KdbenchError):  # the task that measures the variant repeats and reports the error
            compress_all(recipe, [exported], run_data, folder, progress)


def _fit(job: Job, message: Message, recipe: Recipe, run_data: RunData, folder: RunFolder, progress: Progress) -> None:
    if job.entry.is_ready:
        adopt(job, recipe, run_data, folder)
        return
    training = job.training
    if (count := processes_of(training)) > 1:
        train_in_processes(job.id, count, folder, progress)
        return
    with ExitStack() as stack:
        meter: EnergyMeter = UNMETERED_IN_PARALLEL
        if message["metered"] or recipe.measure.energy == "off":
            meter = meter_of(recipe, device_of(training).type, stack)
        pruning = message.get("pruning")
        logs = () if pruning is None else (Halving.of(pruning, folder.path),)
        train_one(job, recipe, run_data, folder, progress, meter, logs)


def _exported(job: Job, recipe: Recipe, run_data: RunData, folder: RunFolder, progress: Progress) -> Exported:
    """Return a job's file, exported unless it exists and comes from this training."""
    if is_onnx_teacher(job):
        return export_one(job, recipe, run_data, folder)
    key = job.key(recipe, run_data.content)
    written = existing_export(job, key, folder)
    if written is None:
        if fit.finished(folder.checkpoint(job.id), key) is None:
            raise InputError(f"{job.id} is not trained: its training was removed meanwhile", "resume the sweep")
        progress.step(1, 1, "export")
        written = write_file(job, form_of(job, run_data), run_data, folder)
        write_export(job, key, written, folder)
    return export_one(job, recipe, run_data, folder, written)


def _measure(message: Message, recipe: Recipe, run_data: RunData, folder: RunFolder, progress: Progress) -> None:
    target = PartFolder.of(folder, message["part"])
    storage.make_folder(target.path)
    with locked(target.path / ".lock"):
        if target.is_complete():
            return
        jobs = {job.id: job for job in plan(recipe, read_code(folder))}
        exports = [_exported(jobs[id_], recipe, run_data, folder, progress) for id_ in message["jobs"]]
        exports += compress_all(recipe, exports, run_data, folder, progress)
        exports = [export for export in exports if export.card.id in message["models"]]
        options: dict[str, Any] = {"timed": message["timed"], "workspace": target.workspace}
        record, samples = measure_all(recipe, exports, run_data, folder, progress, message["command"], **options)
        if message["reference"] is not None:
            relative = relative_latencies(record, samples, message["reference"], recipe.measure)
            record = record.model_copy(update={"measurements": (*record.measurements, *relative)})
        write_samples(target.samples, samples)
        record.write(target.record)
        target.complete(message["models"])
