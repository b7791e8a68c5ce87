"""The start of a run: load its data, build its networks once and open its folder, in one process or in several."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.distill.tracker import require_trackers
from kdbench.distill.trackers import TRACKERS
from kdbench.distill.training import fit
from kdbench.distill.training.devices import check_devices
from kdbench.distill.training.processes import process_group, world_size
from kdbench.errors import InputError, KdbenchError
from kdbench.files import storage
from kdbench.files.claim import claimed
from kdbench.plugins import recording
from kdbench.progress import Progress
from kdbench.recipe import Recipe
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder, choose_folder, require_no_results, require_unused
from kdbench.workflows.stages.check import Trainings, check_recipe
from kdbench.workflows.study.plan import Job, plan
from kdbench.workflows.study.run_data import RunData, load_run_data
from kdbench.workflows.study.user_code import Code, load_plugins, read_code, write_code

Loses = Callable[["CheckedRun", Recipe, RunFolder], bool]
"""Returns whether a run would lose the results of an earlier recipe in a folder; may raise InputError."""


@dataclass(frozen=True, eq=False)
class CheckedRun:
    """A recipe that passed all checks, with its data; `code` are the sources of the user code that it runs."""

    recipe: Recipe
    run_data: RunData
    code: Code

    @property
    def jobs(self) -> list[Job]:
        """The trainings, in order."""
        return plan(self.recipe, self.code)


@contextmanager
def started_run(
    recipe: Recipe, out: Path | None, progress: Progress, *, resume: bool
) -> Iterator[tuple[RunData, list[Job], RunFolder]]:
    """Load the data and build every network once, then claim the folder while the block runs.

    In this order, so that a wrong recipe leaves no folder.
    """
    checked = checked_run(recipe, out, resume=resume)
    with opened_folder(checked, out, progress, resume=resume) as folder:
        yield checked.run_data, checked.jobs, folder


def checked_run(recipe: Recipe, out: Path | None, *, resume: bool) -> CheckedRun:
    """Load the data and build every network once; write nothing. Raises InputError for a recipe that cannot run."""
    processes = process_group()
    with report_on_rank_zero():
        load_plugins(recipe)
        require_trackers(recipe.track, TRACKERS)
        jobs = plan(recipe)
        for job in jobs:
            check_devices(job.training, processes.count)
        processes.on_rank_zero(require_unused, out, resume=resume)
        with recording() as data_code:
            run_data = processes.first_before_others(load_run_data, recipe)
        trained = processes.on_rank_zero(_trained, recipe, run_data, out) if resume else {}
        code = processes.on_rank_zero(check_recipe, recipe, jobs, run_data, data_code, trained)
    return CheckedRun(recipe, run_data, code)


@contextmanager
def opened_folder(
    checked: CheckedRun, out: Path | None, progress: Progress, *, resume: bool, loses: Loses | None = None
) -> Iterator[RunFolder]:
    """Claim the run's folder while the block runs, and write the recipe to it.

    `loses` decides whether the results of a finished run in it would be lost; by default, if its recipe differs.
    """
    processes = process_group()
    with ExitStack() as claim:
        with report_on_rank_zero():
            loses = loses or _is_other_recipe
            folder = processes.on_rank_zero(_open_folder, checked, out, progress, claim, loses, resume=resume)
        with storage.storage_errors(folder.path):
            yield folder


def _trained(recipe: Recipe, run_data: RunData, out: Path | None) -> Trainings:
    """Return the ids of the jobs whose training is complete in the folder `out`, with the code that they ran."""
    folder = RunFolder(choose_folder(recipe.name, out, resume=True))
    jobs = plan(recipe, read_code(folder))
    keys = {job.id: job.key(recipe, run_data.content) for job in jobs}
    return {job.id: job.code for job in jobs if fit.finished(folder.checkpoint(job.id), keys[job.id]) is not None}


@contextmanager
def report_on_rank_zero() -> Iterator[None]:
    """Let rank zero alone report an error that all processes raise; the others exit silently with the same code."""
    try:
        yield
    except KdbenchError as error:
        if process_group().first:
            raise
        raise SystemExit(error.exit_code) from error


def require_single_process() -> None:
    """Raise InputError if torchrun or srun started several processes: they would disturb the measurement."""
    if world_size() > 1:
        message = f"{world_size()} processes were started together, but only one process may measure on the machine"
        hint = "train with `kdbench train RECIPE --out DIR`, then measure with `kdbench run RECIPE --out DIR --resume`"
        raise InputError(message, hint)


def _open_folder(
    checked: CheckedRun, out: Path | None, progress: Progress, claim: ExitStack, loses: Loses, *, resume: bool
) -> RunFolder:
    """Choose the run's folder, claim it until `claim` closes, and write the recipe to it.

    Raises InputError if another process works in it, or another run's results would be lost.
    """
    folder = RunFolder(choose_folder(checked.recipe.name, out, resume=resume))
    claim.enter_context(claimed(folder.path))
    require_no_results(out, resume=resume)  # again: another process may have held it meanwhile
    require_no_loss(checked, folder, loses)
    fit.discard_checkpoints(folder.path / "checkpoints")
    storage.make_folder(folder.path / "models")
    progress.folder(folder.path)
    storage.write_json(folder.marker, checked.recipe.resolved())
    write_code(checked.code, folder)
    return folder


def require_no_loss(checked: CheckedRun, folder: RunFolder, loses: Loses) -> None:
    """Raise InputError if a folder has a run of another recipe, or results that `loses` says would be lost."""
    recipe, hint = checked.recipe, "choose another folder with --out"
    if folder.marker.exists():
        earlier = storage.read_json(folder.marker, "recipe")
        name = earlier.get("name") if isinstance(earlier, dict) else None
        if name != recipe.name:
            raise InputError(f"{folder.path} holds a run of the recipe {name!r}, not {recipe.name!r}", hint)
        if folder.record.exists() and ((known := _valid(earlier, folder)) is None or loses(checked, known, folder)):
            raise InputError(f"{folder.path} holds a finished run with other settings, which would be lost", hint)


def _valid(earlier: Mapping[str, Any], folder: RunFolder) -> Recipe | None:
    """Return the recipe of a folder; None for one with values that only earlier versions accepted."""
    try:
        return recipe_from(earlier, str(folder.marker))
    except InputError:
        return None


def _is_other_recipe(checked: CheckedRun, earlier: Recipe, folder: RunFolder) -> bool:  # noqa: ARG001 - a `Loses`
    return earlier.hash() != checked.recipe.hash()
