"""Open a sweep or a search: connect its engine, check and describe its plan, and claim its folder."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from kdbench.errors import InputError
from kdbench.measure.harness import check_config
from kdbench.progress import Progress, Silent
from kdbench.recipe import Recipe
from kdbench.recipe.loading import SweptRecipe
from kdbench.results.records.record import read_model_ids
from kdbench.results.run_folder import RunFolder, choose_folder
from kdbench.workflows.stages.start import CheckedRun, checked_run, opened_folder, require_no_loss
from kdbench.workflows.study.plan import plan
from kdbench.workflows.sweeping.engines import connected
from kdbench.workflows.sweeping.estimate import training_costs
from kdbench.workflows.sweeping.execution.engine import Engine
from kdbench.workflows.sweeping.existing import former_names, rename_trainings
from kdbench.workflows.sweeping.plan import SweepPlan, reference_of
from kdbench.workflows.sweeping.sweep_tasks import PlannedSweep


@dataclass(frozen=True)
class OpenSweep:
    """A sweep that can run: its plan, the engine for its tasks, and the folder that is claimed for it."""

    planned: PlannedSweep
    engine: Engine
    folder: RunFolder


@contextmanager
def opened_sweep(
    swept: SweptRecipe,
    out: Path | None,
    progress: Progress,
    outline: Callable[[PlannedSweep, int], Iterable[str]],
    *,
    on: str,
    measure_on: str | None,
    resume: bool,
) -> Iterator[OpenSweep]:
    """Plan a sweep, pass its outline to `progress`, and claim its folder for the block; rename trainings in it.

    `outline` returns the lines that describe a plan for an engine's number of slots. Raises InputError before anything
    is written if something cannot run.
    """
    with planned_sweep(swept, out, progress, on=on, measure_on=measure_on, resume=resume) as (planned, engine):
        for line in outline(planned, engine.slots):
            progress.note(line)
        with opened_folder(planned.checked, out, progress, resume=resume, loses=_loses_results) as folder:
            rename_trainings(former_names(planned.keys, folder), folder)
            yield OpenSweep(planned, engine, folder)


@contextmanager
def planned_sweep(
    swept: SweptRecipe,
    out: Path | None,
    progress: Progress | None = None,
    *,
    on: str,
    measure_on: str | None,
    resume: bool,
) -> Iterator[tuple[PlannedSweep, Engine]]:
    """Check a recipe at every point of its sweep and plan it, for the engine that `on` names; write nothing.

    The engine is connected while the block runs. Raises InputError if something cannot run.
    """
    recipe = swept.recipe
    with connected(on, measure_on) as engine_of:
        check_config(recipe.measure, progress or Silent())
        checked = checked_run(recipe, out, resume=resume)
        jobs, run_data = checked.jobs, checked.run_data
        planned = PlannedSweep(
            SweepPlan(recipe, jobs, swept.points, reference_of(jobs)),
            swept.values,
            checked,
            {job.id: job.key(recipe, run_data.content) for job in jobs},
            training_costs({job.id: job for job in jobs}, run_data),
            torch.get_num_threads(),
        )
        yield planned, engine_of(planned)


def require_no_results_lost(planned: PlannedSweep, out: Path | None) -> None:
    """Raise InputError if resuming a sweep in its folder would lose results there, as `opened_sweep` does."""
    folder = RunFolder(choose_folder(planned.recipe.name, out, resume=True))
    require_no_loss(planned.checked, folder, _loses_results)


def _loses_results(checked: CheckedRun, earlier: Recipe, folder: RunFolder) -> bool:
    """Raise InputError if results of a finished sweep would be lost; otherwise return False."""
    recipe, data = checked.recipe, checked.run_data.content
    if earlier.hash() == recipe.hash():
        return False
    completed = read_model_ids(folder.record)
    keys = {job.key(recipe, data) for job in plan(recipe)}
    lost = [job.id for job in plan(earlier) if job.id in completed and job.key(earlier, data) not in keys]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        kept = f"{folder.path} has results of {lost[0]}{more}"
        otherwise = "choose another folder with --out"
        if lost[0] in {job.id for job in plan(recipe)}:
            raise InputError(f"{kept} with other settings, which would be lost", otherwise)
        hint = f"name all values again (finished results are kept), or {otherwise}"
        raise InputError(f"{kept}, which this sweep does not include", hint)
    return False
