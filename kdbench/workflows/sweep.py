"""A recipe over axes of values and seeds: planned, trained side by side, measured alone, reported as one run.

The run's folder is the only state: what stands in it is kept, whatever the sweep is called with next.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kdbench import storage
from kdbench.errors import EXIT_BAD_INPUT, EXIT_INTERNAL, InputError, KdbenchError
from kdbench.judge.target import Target, targets_of
from kdbench.measure.harness import check_config
from kdbench.progress import Progress, Silent
from kdbench.recipe import Recipe
from kdbench.recipe.loading import SweptRecipe, load_sweep
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder, choose_folder, folder_of
from kdbench.workflows.stages.results import RunResults, failures_of, write_results
from kdbench.workflows.stages.start import CheckedRun, checked_run, opened_folder
from kdbench.workflows.stages.tracking import track_results
from kdbench.workflows.study.plan import plan
from kdbench.workflows.sweeping.driver import Driver
from kdbench.workflows.sweeping.engines import reached
from kdbench.workflows.sweeping.estimate import training_costs
from kdbench.workflows.sweeping.merging import merged
from kdbench.workflows.sweeping.outline import Outline, outline
from kdbench.workflows.sweeping.plan import SweepPlan, reference_of
from kdbench.workflows.sweeping.schedule import Fault
from kdbench.workflows.sweeping.standing import rename, renamed
from kdbench.workflows.sweeping.work import Planned, Work, done_tasks, tasks_of, with_reference


@dataclass(frozen=True)
class SweepResults(RunResults):
    """What a sweep wrote. `landed` of its `points` have all their models; `failed` says of each other model why."""

    points: int = 0
    landed: int = 0
    failed: Mapping[str, Fault] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 where every point landed, 4 where a bug of kdbench kept one from it, else 3."""
        if self.landed == self.points:
            return 0
        return EXIT_INTERNAL if any(fault.internal for fault in self.failed.values()) else EXIT_BAD_INPUT


def sweep_recipe(
    swept: SweptRecipe,
    out: str | Path | None = None,
    *,
    on: str = "local",
    measure_on: str | None = None,
    resume: bool = False,
    targets: Sequence[Target | str | Path] = (),
    progress: Progress | None = None,
    command: str = "",
    finish: Callable[[RunRecord], RunRecord] = lambda record: record,
) -> SweepResults:
    """Train, export, measure and report a recipe at every point of its sweep (`load_sweep`).

    `on` names the engine that runs the trainings: `local` are processes of this machine, `auto` or an address a Ray
    cluster, on whose nodes with the label `measure_on` models are measured. A point that fails does not end the others;
    the results say which did. With `resume` the sweep in `out` goes on, and may have further values, axes and seeds.
    `finish` completes the record. Raises a KdbenchError before anything starts for what cannot run, and at the end
    where no model landed.
    """
    progress, judged, path = progress or Silent(), targets_of(targets), folder_of(out)
    with reached(on, measure_on) as engine_of:
        planned = planned_sweep(swept, path, progress, resume=resume)
        engine = engine_of(planned)
        for line in _outlined(planned, path, engine.slots, resume=resume).lines():
            progress.note(line)
        with opened_folder(planned.checked, path, progress, resume=resume, loses=loses_results) as folder:
            rename(renamed(planned.keys, folder), folder)
            work = Work(with_reference(planned, folder), folder, command, metered=engine.meters)
            with engine.open(folder.path.resolve()):
                Driver(work.schedule, engine, work.prepare, progress).run()
            return _concluded(work, judged, progress, finish)


def outline_sweep(
    swept: SweptRecipe,
    out: str | Path | None = None,
    *,
    on: str = "local",
    measure_on: str | None = None,
    resume: bool = False,
) -> Outline:
    """Return what `sweep_recipe` would do; check all that it checks, and write nothing."""
    with reached(on, measure_on) as engine_of:
        planned = planned_sweep(swept, folder_of(out), Silent(), resume=resume)
        return _outlined(planned, folder_of(out), engine_of(planned).slots, resume=resume)


def planned_sweep(swept: SweptRecipe, out: Path | None, progress: Progress, *, resume: bool) -> Planned:
    """Check a recipe at every point of its sweep, and plan it; raises InputError for what cannot run."""
    recipe = swept.recipe
    check_config(recipe.measure, progress)
    checked = checked_run(recipe, out, resume=resume)
    jobs, run_data = checked.jobs, checked.run_data
    return Planned(
        SweepPlan(recipe, jobs, swept.points, reference_of(jobs)),
        swept.values,
        checked,
        {job.id: job.key(recipe, run_data.content) for job in jobs},
        training_costs({job.id: job for job in jobs}, run_data),
        torch.get_num_threads(),
    )


def _outlined(planned: Planned, out: Path | None, slots: int, *, resume: bool) -> Outline:
    """Return the outline of a plan, given what stands in its folder."""
    done: set[str] = set()
    if resume:
        done = done_tasks(planned, RunFolder(choose_folder(planned.recipe.name, out, resume=True)))
    return outline(planned.plan, planned.axes, tasks_of(planned), done, planned.checked.run_data, slots)


def _concluded(
    work: Work, targets: Sequence[Target], progress: Progress, finish: Callable[[RunRecord], RunRecord]
) -> SweepResults:
    """Merge what was measured, and write record, verdicts and reports."""
    plan_, failed = work.planned.plan, work.failed
    if not work.complete:
        first = next(iter(failed.values()))
        raise KdbenchError(f"no model of the sweep landed: {first.message}", first.hint)
    progress.note("merging the parts, and writing the report")
    missing = {id_: fault.message for id_, fault in failed.items()}
    record, samples = merged(plan_, work.complete, missing, work.command)
    record = finish(record)
    results = write_results(record, samples, work.folder, targets)
    failed |= {id_: Fault(error.message, error.hint) for id_, error in failures_of(record).items()}
    track_results(work.planned.recipe, list(plan_.jobs), record, work.planned.data, work.folder, progress)
    landed = sum(not any(id_ in failed for id_ in ids) for ids in plan_.models_of_point)
    written = results.folder, results.record, results.samples, results.verdicts
    return SweepResults(*written, points=len(plan_.points), landed=landed, failed=failed)


def loses_results(checked: CheckedRun, earlier: Recipe, folder: RunFolder) -> bool:
    """Raise InputError where results of a finished sweep would be lost; False if none would."""
    recipe, data = checked.recipe, checked.run_data.content
    if earlier.hash() == recipe.hash():
        return False
    landed = {card.get("id") for card in storage.read_json(folder.record, "record").get("models", [])}
    keys = {job.key(recipe, data) for job in plan(recipe)}
    lost = [job.id for job in plan(earlier) if job.id in landed and job.key(earlier, data) not in keys]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        message = f"{folder.path} has results of {lost[0]}{more}, which this sweep leaves out"
        raise InputError(message, "name all values again: what is done is kept; or choose another folder with --out")
    return False


def sweep(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | None = None,
    on: str = "local",
    measure_on: str | None = None,
    resume: bool = False,
    targets: Sequence[Target | str | Path] = (),
    progress: Progress | None = None,
) -> SweepResults:
    """Train, measure and report a recipe at every point of `axes`, with several seeds; return record and failures.

    `recipe` is a value, a table, a shipped recipe's name or a file's path; `axes` maps its keys to values. The rest is
    as for `kdbench sweep`: see docs/sweeps.md.

        results = kdbench.sweep("digits", "runs/t", axes={"terms.0.temperature": [1, 4, 10]}, seeds=3)
        assert results.landed == results.points, results.failed
    """
    options: dict[str, Any] = {"on": on, "measure_on": measure_on, "resume": resume, "targets": targets}
    options["progress"] = progress
    return sweep_recipe(load_sweep(recipe, axes, seeds), out, **options)
