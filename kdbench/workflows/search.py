"""A sweep whose points an optimiser chooses: trials, then one record and one report of them.

Results in the run's folder are kept: a resumed search gives all of them to the optimiser.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from kdbench.errors import InputError, KdbenchError
from kdbench.judge.target import Target, targets_of
from kdbench.progress import Progress, Silent
from kdbench.recipe.loading import SweptRecipe
from kdbench.recipe.sweeps.goal import goal_of
from kdbench.recipe.sweeps.search import Search
from kdbench.results.run_folder import RunFolder, choose_folder, folder_of
from kdbench.workflows.searching.outline import SearchOutline
from kdbench.workflows.searching.ranking import with_ranking
from kdbench.workflows.searching.subject import require_measured, subject_of
from kdbench.workflows.searching.suggesting import require_optuna
from kdbench.workflows.searching.trials import Trial, Trials
from kdbench.workflows.stages.export_ahead import has_meter
from kdbench.workflows.sweep import SweepResults, sweep_recipe
from kdbench.workflows.sweeping.estimate import part_cost
from kdbench.workflows.sweeping.execution.driver import Driver
from kdbench.workflows.sweeping.opening import opened_sweep, planned_sweep, require_no_results_lost
from kdbench.workflows.sweeping.search_tasks import SearchTasks
from kdbench.workflows.sweeping.sweep_tasks import PlannedSweep


def search_recipe(
    swept: SweptRecipe,
    out: str | Path | None = None,
    *,
    on: str = "local",
    measure_on: str | None = None,
    resume: bool = False,
    targets: Sequence[Target | str | Path] = (),
    progress: Progress | None = None,
    command: str = "",
) -> SweepResults:
    """Search the space of a recipe's sweep (`load_sweep` with `search`), and report its trials as the sweep's points.

    `on`, `resume` and `targets` are as for `sweep_recipe`. With `resume` the search continues, and may have more
    trials, another goal and wider ranges. Raises a KdbenchError before anything starts if something cannot run, and at
    the end if no trial succeeded.
    """
    require_optuna()
    progress, _, path = progress or Silent(), targets_of(targets), folder_of(out)
    swept, trials = _with_trials(swept, path, resume=resume)
    goal = goal_of(_search(swept).goal)
    name = subject_of(goal, swept.recipe, swept.points[0])
    placement: dict[str, Any] = {"on": on, "measure_on": measure_on}

    def outline_lines(planned: PlannedSweep, slots: int) -> Iterable[str]:
        return _outline(swept, planned, trials, slots).lines()

    with opened_sweep(swept, path, progress, outline_lines, **placement, resume=resume) as opened:
        folder, engine = opened.folder, opened.engine
        engine_facts: dict[str, Any] = {"slots": engine.slots, "metered": engine.meters}
        tasks = SearchTasks(swept, opened.planned, folder, goal, name, command, progress, **engine_facts)
        with engine.open(folder.path.resolve()):
            tasks.begin(trials)
            Driver(tasks.schedule, engine, tasks.prepare, progress, tasks.ended).run()
    points = [trial.values for trial in tasks.completed]
    if not points:
        fault = tasks.fault
        raise KdbenchError(
            f"no trial of the search completed: {'all were pruned' if fault is None else fault.message}",
            "" if fault is None else fault.hint,
        )
    completed, validated = swept.at(points), len(opened.planned.checked.run_data.validation)
    options: dict[str, Any] = {"resume": True, "targets": targets, "progress": progress, "command": command}
    rank = partial(with_ranking, swept=completed, goal=goal, name=name, validated=validated, counts=tasks.counts)
    return sweep_recipe(completed, folder.path, **placement, **options, finish=rank)


def outline_search(
    swept: SweptRecipe,
    out: str | Path | None = None,
    *,
    on: str = "local",
    measure_on: str | None = None,
    resume: bool = False,
) -> SearchOutline:
    """Return the plan of `search_recipe` after all its checks; write nothing."""
    require_optuna()
    swept, trials = _with_trials(swept, folder_of(out), resume=resume)
    subject_of(goal_of(_search(swept).goal), swept.recipe, swept.points[0])
    with planned_sweep(swept, folder_of(out), on=on, measure_on=measure_on, resume=resume) as (planned, engine):
        if resume:
            require_no_results_lost(planned, folder_of(out))
        return _outline(swept, planned, trials, engine.slots)


def _search(swept: SweptRecipe) -> Search:
    assert swept.table.search is not None, "a search"
    return swept.table.search


def _with_trials(swept: SweptRecipe, out: Path | None, *, resume: bool) -> tuple[SweptRecipe, list[Trial]]:
    """Return the recipe with the trials in a folder as its points, and the trials; without trials, it is unchanged."""
    if not resume:
        return swept, []
    folder = RunFolder(choose_folder(swept.recipe.name, out, resume=True))
    trials = Trials(folder).all()
    for trial in trials:
        if trial.values.keys() != swept.table.axes.keys():
            message = f"the search in {folder.path} has the axes {', '.join(trial.values)}"
            raise InputError(message, "name the same axes; their ranges may differ, and so may the goal")
    completed = [trial.values for trial in trials if not trial.ended_early]
    return (swept.at(completed) if completed else swept), trials


def _outline(swept: SweptRecipe, planned: PlannedSweep, trials: Sequence[Trial], slots: int) -> SearchOutline:
    """Return the outline of a search; raises InputError for a goal whose numbers no trial would have."""
    search, plan_ = _search(swept), planned.plan
    require_measured(goal_of(search.goal), planned.recipe.measure, planned.checked.run_data.dataset.task)
    parts = [part for part in plan_.parts if part.timed and any(plan_.by_id[id_].entry.axes for id_ in part.jobs)]
    changed = {name for point in swept.points for entry, name in point.by_entry.items() if name != entry}
    costs_s = [planned.costs[job.id] for job in plan_.jobs if job.entry.name in changed]
    count = sum(name != entry for entry, name in swept.points[0].by_entry.items())
    training_s = median(costs_s) * count * len(planned.recipe.seeds) if costs_s else 0.0
    measure = planned.recipe.measure
    metered = has_meter(measure)
    measuring_s = median(part_cost(part, measure, metered=metered) for part in parts) if parts else 0.0
    return SearchOutline(
        goal=search.goal,
        axes=swept.table.axes,
        trials=search.trials,
        known=len(trials),
        at_once=min(slots, search.trials),
        prune=search.prune,
        seeds=planned.recipe.seeds,
        trial_s=training_s / slots + measuring_s,
    )
