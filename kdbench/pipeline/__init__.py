"""The one package that knows every stage: recipe → checkpoints → ONNX files → record → report.

Each stage reads what the one before left in the run's folder and leaves its own; a killed run goes on from
there. Nothing downstream reaches back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdbench import report, storage
from kdbench.pipeline.exporting import export_all
from kdbench.pipeline.material import load_material
from kdbench.pipeline.measuring import measure_all
from kdbench.pipeline.plan import plan
from kdbench.pipeline.training import train_all
from kdbench.progress import Progress, Silent
from kdbench.recipe import Recipe
from kdbench.records import RunRecord
from kdbench.run_folder import RunFolder, choose_folder

__all__ = ["plan", "run", "train"]


def train(
    recipe: Recipe,
    out: Path | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Run the training stage alone and return the run's folder; `run` with `resume` goes on from it."""
    progress = progress or Silent()
    folder = _open(recipe, out, progress, resume=resume)
    with _disk_errors(folder):
        train_all(recipe, load_material(recipe), folder, progress, stages_after=0)
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

    `resume` goes on with what `out` holds: trainings made under the same settings are kept. `command` is what the
    report tells its reader to type. Raises a KdbenchError for whatever the user can mend; what was finished before
    it stays on disk.
    """
    progress = progress or Silent()
    folder = _open(recipe, out, progress, resume=resume)
    with _disk_errors(folder):
        material = load_material(recipe)
        jobs = train_all(recipe, material, folder, progress, stages_after=3)
        progress.stage("export", len(jobs) + 1, len(jobs) + 3)
        exports = export_all(recipe, jobs, material, folder, progress)
        progress.stage("measure", len(jobs) + 2, len(jobs) + 3)
        record = measure_all(recipe, exports, material, folder, progress, command)
        progress.stage("report", len(jobs) + 3, len(jobs) + 3)
        report.write(record, folder.path)
    return record, folder.path


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
