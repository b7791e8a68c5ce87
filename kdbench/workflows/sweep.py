"""A recipe over axes of values and seeds: planned, trained side by side, measured alone, reported as one run.

The run's folder is the only state: finished results in it are kept, regardless of the next call's arguments.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdbench.errors import EXIT_BAD_INPUT, EXIT_INTERNAL, KdbenchError
from kdbench.judge.target import Target, targets_of
from kdbench.progress import Progress, Silent
from kdbench.recipe.loading import SweptRecipe
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder, choose_folder, folder_of
from kdbench.workflows.stages.results import RunResults, failures_of, write_results
from kdbench.workflows.stages.tracking import track_results
from kdbench.workflows.sweeping.execution.driver import Driver
from kdbench.workflows.sweeping.execution.schedule import Fault
from kdbench.workflows.sweeping.merging import merged
from kdbench.workflows.sweeping.opening import opened_sweep, planned_sweep, require_no_results_lost
from kdbench.workflows.sweeping.outline import Outline, outline
from kdbench.workflows.sweeping.sweep_tasks import PlannedSweep, SweepTasks, done_tasks, tasks_of, with_reference


@dataclass(frozen=True)
class SweepResults(RunResults):
    """The results of a sweep: `completed` of its `points` have all models, `failed` has a reason for each other one."""

    points: int = 0
    completed: int = 0
    failed: Mapping[str, Fault] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 if every point completed, 4 if a bug of kdbench prevented one, else 3."""
        if self.completed == self.points:
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
    cluster, on whose nodes with the label `measure_on` models are measured. If a point fails, the others continue; the
    results name the failed ones. With `resume` the sweep in `out` continues, and may have further values, axes and
    seeds. `finish` completes the record. Raises a KdbenchError before anything starts if something cannot run, and at
    the end if no model succeeded.
    """
    progress, loaded_targets, path = progress or Silent(), targets_of(targets), folder_of(out)
    options: dict[str, Any] = {"on": on, "measure_on": measure_on, "resume": resume}

    def outline_lines(planned: PlannedSweep, slots: int) -> Iterable[str]:
        return _outline(planned, path, slots, resume=resume).lines()

    with opened_sweep(swept, path, progress, outline_lines, **options) as opened:
        folder, engine = opened.folder, opened.engine
        tasks = SweepTasks(with_reference(opened.planned, folder), folder, command, metered=engine.meters)
        with engine.open(folder.path.resolve()):
            Driver(tasks.schedule, engine, tasks.prepare, progress).run()
        return _conclude(tasks, loaded_targets, progress, finish)


def outline_sweep(
    swept: SweptRecipe,
    out: str | Path | None = None,
    *,
    on: str = "local",
    measure_on: str | None = None,
    resume: bool = False,
) -> Outline:
    """Return the plan of `sweep_recipe` after all its checks; write nothing."""
    path = folder_of(out)
    with planned_sweep(swept, path, on=on, measure_on=measure_on, resume=resume) as (planned, engine):
        if resume:
            require_no_results_lost(planned, path)
        return _outline(planned, path, engine.slots, resume=resume)


def _outline(planned: PlannedSweep, out: Path | None, slots: int, *, resume: bool) -> Outline:
    """Return the outline of a plan, given the results in its folder."""
    done: set[str] = set()
    folder = None
    if resume:
        folder = RunFolder(choose_folder(planned.recipe.name, out, resume=True))
        done = done_tasks(planned, folder)
    return outline(planned.plan, planned.axes, tasks_of(planned, folder), done, planned.checked.run_data, slots)


def _conclude(
    tasks: SweepTasks, targets: Sequence[Target], progress: Progress, finish: Callable[[RunRecord], RunRecord]
) -> SweepResults:
    """Merge what was measured, and write record, verdicts and reports."""
    plan_, failed = tasks.planned.plan, tasks.failed
    if not tasks.complete:
        first = next(iter(failed.values()))
        raise KdbenchError(f"no model of the sweep has results: {first.message}", first.hint)
    progress.note("merging the parts, and writing the report")
    missing = {id_: fault.message for id_, fault in failed.items()}
    record, samples = merged(plan_, tasks.complete, missing, tasks.command)
    record = finish(record)
    results = write_results(record, samples, tasks.folder, targets)
    failed |= {id_: Fault(error.message, error.hint) for id_, error in failures_of(record).items()}
    track_results(tasks.planned.recipe, list(plan_.jobs), record, tasks.planned.data, tasks.folder, progress)
    completed = sum(not any(id_ in failed for id_ in ids) for ids in plan_.models_of_point)
    written = results.folder, results.record, results.samples, results.verdicts
    return SweepResults(*written, points=len(plan_.points), completed=completed, failed=failed)
