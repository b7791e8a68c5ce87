"""The one package that knows every stage: recipe → checkpoints → ONNX files → record → report.

Each stage reads what the one before left in the run's folder and leaves its own; a killed run goes on from
there. Nothing downstream reaches back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdbench import storage
from kdbench.distill.devices import check_devices
from kdbench.distill.processes import process_group, world_size
from kdbench.errors import InputError, KdbenchError
from kdbench.judge.target import Target
from kdbench.measure.harness import check_config
from kdbench.progress import Progress, Silent
from kdbench.recipe import Recipe
from kdbench.recipe.loading import recipe_from
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder, choose_folder, require_unused
from kdbench.workflows import write_results
from kdbench.workflows.stages.export import export_all
from kdbench.workflows.stages.measure import measure_all
from kdbench.workflows.stages.plan import Job, plan
from kdbench.workflows.stages.run_data import RunData, load_run_data
from kdbench.workflows.stages.train import check, train_all, training_of

__all__ = ["plan", "run", "train"]


def train(
    recipe: Recipe,
    out: Path | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Run the training stage alone and return the run's folder; `run` with `resume` goes on from it.

    Where torchrun or srun started several processes, all of them call this, and the first one alone speaks and writes.
    """
    progress = progress if progress is not None and process_group().first else Silent()
    material, jobs, folder = _begin(recipe, out, progress, resume=resume)
    with _disk_errors(folder):
        train_all(recipe, jobs, material, folder, progress, stages_after=0)
    return folder.path


def run(
    recipe: Recipe,
    out: Path | None = None,
    *,
    resume: bool = False,
    targets: Sequence[Target] = (),
    progress: Progress | None = None,
    command: str = "",
) -> tuple[RunRecord, Path]:
    """Train, export, measure, judge and report a recipe; return the record and the run's folder.

    `resume` goes on with what `out` holds: trainings made under the same settings are kept. The verdicts on `targets`
    are kept beside the record. `command` is what the report tells its reader to type. Raises a KdbenchError for
    whatever the user can mend; what was finished before it stays on disk.
    """
    progress = progress or Silent()
    with _report_on_rank_zero():
        _require_single_process()
    check_config(recipe.measure, progress)
    material, jobs, folder = _begin(recipe, out, progress, resume=resume)
    with _disk_errors(folder):
        train_all(recipe, jobs, material, folder, progress, stages_after=3)
        progress.stage("export", len(jobs) + 1, len(jobs) + 3)
        exports = export_all(recipe, jobs, material, folder, progress)
        progress.stage("measure", len(jobs) + 2, len(jobs) + 3)
        record, samples = measure_all(recipe, exports, material, folder, progress, command)
        progress.stage("report", len(jobs) + 3, len(jobs) + 3)
        write_results.write_results(record, samples, folder, targets)
    write_results.raise_on_failed_models(record, folder)
    return record, folder.path


def _begin(
    recipe: Recipe, out: Path | None, progress: Progress, *, resume: bool
) -> tuple[RunData, list[Job], RunFolder]:
    """Load the data and build every network once, and only then make the folder: what is misspelt leaves none."""
    processes = process_group()
    with _report_on_rank_zero():
        jobs = plan(recipe)
        for job in jobs:
            check_devices(training_of(job))
        processes.on_rank_zero(lambda: require_unused(out, resume=resume))
        material = processes.first_then_all(lambda: load_run_data(recipe))
        check(jobs, material)
        path = processes.on_rank_zero(lambda: _open(recipe, out, progress, resume=resume).path)
    return material, jobs, RunFolder(path)


@contextmanager
def _report_on_rank_zero() -> Iterator[None]:
    """Let an error that all processes meet with be told by the first one; the others end without a word."""
    try:
        yield
    except KdbenchError as error:
        if process_group().first:
            raise
        raise SystemExit(error.exit_code) from error


def _require_single_process() -> None:
    if world_size() > 1:
        raise InputError(
            f"{world_size()} processes were started together, and what is measured has to be alone",
            "train with `kdbench train RECIPE --out DIR`, then measure with `kdbench run RECIPE --out DIR --resume`",
        )


def _open(recipe: Recipe, out: Path | None, progress: Progress, *, resume: bool) -> RunFolder:
    """Choose the run's folder and mark it as this recipe's; raises InputError where that would lose another's."""
    folder = RunFolder(choose_folder(recipe.name, out, resume=resume))
    if folder.marker.exists():
        _same_study(storage.read_json(folder.marker, "recipe"), recipe, folder)
    storage.make_folder(folder.path / "models")
    progress.folder(folder.path)
    storage.write_json(folder.marker, recipe.resolved())
    return folder


def _same_study(earlier: Any, recipe: Recipe, folder: RunFolder) -> None:
    hint = "choose another folder with --out"
    name = earlier.get("name") if isinstance(earlier, dict) else None
    if name != recipe.name:
        raise InputError(f"{folder.path} holds a run of the recipe {name!r}, not {recipe.name!r}", hint)
    if folder.record.exists() and recipe_from(earlier, str(folder.marker)).hash() != recipe.hash():
        raise InputError(f"{folder.path} holds a finished run under other settings, which would be lost", hint)


@contextmanager
def _disk_errors(folder: RunFolder) -> Iterator[None]:
    """Report what a library could not write as a storage error, with the folder and a remedy."""
    try:
        yield
    except OSError as error:
        raise storage.storage_error(error, Path(error.filename or folder.path)) from error
