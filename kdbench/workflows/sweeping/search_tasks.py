"""A search as tasks of a sweep: each trial is a point; when a trial ends, the optimiser chooses the next one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from kdbench.distill.training.devices import processes_of
from kdbench.errors import InputError
from kdbench.progress import Progress
from kdbench.recipe.loading import SweptRecipe
from kdbench.recipe.sweeps.goal import Goal
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.searching.halving import pruning_of
from kdbench.workflows.searching.subject import independents_change, names_at
from kdbench.workflows.searching.suggesting import PastTrial, suggest_values
from kdbench.workflows.searching.trial_result import IdsByName, describe_result, trial_result
from kdbench.workflows.searching.trials import Curves, Trial, Trials
from kdbench.workflows.stages.start import CheckedRun
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.user_code import Code, write_code
from kdbench.workflows.sweeping.execution.engine import Message
from kdbench.workflows.sweeping.execution.schedule import Fault, Schedule, Task
from kdbench.workflows.sweeping.merging import merged
from kdbench.workflows.sweeping.plan import SweepPlan, reference_of
from kdbench.workflows.sweeping.sweep_tasks import PlannedSweep, SweepTasks, tasks_of, with_reference


@dataclass
class SearchTasks:
    """The trials of a search as tasks: the first ones, then a new one whenever a trial has ended."""

    swept: SweptRecipe
    planned: PlannedSweep
    folder: RunFolder
    goal: Goal
    name: str
    command: str
    progress: Progress
    slots: int = 1
    metered: bool = False
    schedule: Schedule = field(default_factory=Schedule)
    trials: dict[int, Trial] = field(default_factory=dict)
    fault: Fault | None = None
    stopped: bool = False
    _works: dict[str, SweepTasks] = field(default_factory=dict)
    _open: dict[int, set[str]] = field(default_factory=dict)
    _parts: dict[int, tuple[SweepPlan, IdsByName, list[str]]] = field(default_factory=dict)
    _tried: dict[int, PastTrial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._files, self._curves = Trials(self.folder), Curves(self.folder)
        self._costs = median(self.planned.costs.values())
        assert self.swept.table.search is not None, "a search"
        self._search, self._code = self.swept.table.search, dict(self.planned.checked.code)
        self._code_of_entry = _code_by_entry(self.swept, self._code)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials there are, and how many of them ended early; those that a resumed search repeats failed."""
        pruned = sum(trial.pruned is not None for trial in self.trials.values())
        failed = sum(trial.failed is not None for trial in self.trials.values())
        repeated = len(self._tried.keys() - self.trials.keys())
        return {"trials": len(self.trials) + repeated, "pruned": pruned, "failed": failed + repeated}

    @property
    def completed(self) -> list[Trial]:
        """The trials with results, in their order."""
        return [self.trials[n] for n in sorted(self.trials) if not self.trials[n].ended_early]

    def begin(self, known: Iterable[Trial]) -> None:
        """Queue the known trials, most of which have results, and as many new ones as fit."""
        for trial in known:
            self.trials[trial.number] = trial
            if trial.ended_early:
                self._tried[trial.number] = self._ended_early(trial)
            else:
                self.schedule.add(self._tasks(trial))
        self.schedule.add(self._next())

    def prepare(self, task: Task) -> Message | Fault | None:
        """Return the message of a task; None if its result exists, or if all its trials were pruned."""
        numbers = [number for number, parts in self._open.items() if task.id in parts]
        if numbers and all(self._files.read(number).pruned is not None for number in numbers):
            return None
        return self._works[task.id].prepare(task)

    def ended(self, task: Task, _: Fault | None) -> list[Task]:
        """Handle the end of a task; return the tasks of the next trials, if a trial has ended with it."""
        done = []
        for number, parts in self._open.items():
            parts.discard(task.id)
            if not parts:
                done.append(number)
        for number in done:
            del self._open[number]
            self._conclude(number)
        return self._next() if done else []

    def _next(self) -> list[Task]:
        tasks: list[Task] = []
        while (
            not self.stopped and len(self._open) < self.slots and len(self._tried | self.trials) < self._search.trials
        ):
            number = max(self._tried | self.trials, default=-1) + 1
            tried = [self._tried.get(n) or PastTrial(self.trials[n].values) for n in sorted(self._tried | self.trials)]
            values = suggest_values(self.swept.table.axes, self.goal, tried, number, self.planned.recipe.seeds[0])
            if values is None:
                self.progress.note(f"all {len(tried)} points of the space are tried")
                break
            self.trials[number] = Trial(number, values)
            tasks += self._tasks(self.trials[number])
        return tasks

    def _tasks(self, trial: Trial) -> list[Task]:
        """Return the tasks of a trial; none if its values cannot be trained: the trial then fails."""
        try:
            planned, swept = self._planned(trial)
        except InputError as error:
            self._fail(trial, error.message)
            return []
        named = names_at(swept.points[-1], self.name, planned.recipe.seeds)
        trainings = named[self.goal.number.model] if self.goal.number.is_score else ()
        # A resumed training that is compared with this trial may reach a rung before this trial's end is seen again.
        excess = trial.excess if trial.goal == str(self.goal) else None
        known: dict[str, Any] = {"trainings": tuple(trainings), "excess": excess, "goal": str(self.goal)}
        self.trials[trial.number] = trial = replace(trial, **known)
        self._files.write(trial)
        pruning = self._pruning(trial, planned.plan)
        options: dict[str, Any] = {"metered": self.metered, "schedule": self.schedule, "pruning": pruning}
        work = SweepTasks(with_reference(planned, self.folder), self.folder, self.command, **options)
        tasks = tasks_of(work.planned, self.folder)
        for task in tasks:
            if task.id not in self.schedule.tasks:
                self._works[task.id] = work
        wanted = {id_ for ids in named.values() for id_ in ids}
        part_ids = [part.id for part in work.planned.plan.parts if wanted & {*part.models}]
        self._parts[trial.number] = work.planned.plan, named, part_ids
        self._open[trial.number] = {id_ for id_ in part_ids if not self.schedule.has_ended(id_)}
        return tasks

    def _pruning(self, trial: Trial, plan_: SweepPlan) -> dict[str, dict[str, Any]]:
        """Return the pruning of the trainings whose scores the goal needs; none for those in several processes."""
        pruning = {}
        for place, id_ in enumerate(trial.trainings):
            training = plan_.by_id[id_].training
            settings = pruning_of(self._search, trial.number, place, training.last_epoch)
            if settings is not None and processes_of(training) == 1:
                pruning[id_] = settings
        return pruning

    def _planned(self, trial: Trial) -> tuple[PlannedSweep, SweptRecipe]:
        """Plan a trial's point together with the points of other trials that its numbers may depend on.

        That is the first trial, or all if students that learn from labels alone differ between trials.
        """
        first, others = self.planned, [other for other in self.completed if other.number < trial.number]
        related = others if independents_change(first.recipe) else others[:1]
        swept = self.swept.at([*(other.values for other in related), trial.values])
        recipe = swept.recipe
        pairs = (pair for point in swept.points for pair in point.by_entry.items())
        code = {model: self._code_of_entry[entry] for entry, model in pairs if entry in self._code_of_entry}
        if code:
            self._code |= code
            write_code(self._code, self.folder)
        jobs = plan(recipe, code)
        planned = PlannedSweep(
            SweepPlan(recipe, jobs, swept.points, reference_of(jobs)),
            swept.values,
            CheckedRun(recipe, first.checked.run_data, code),
            {job.id: job.key(recipe, first.data) for job in jobs},
            {job.id: first.costs.get(job.id, self._costs) for job in jobs},
            first.threads,
        )
        return planned, swept

    def _conclude(self, number: int) -> None:
        """Write how a trial ended: pruned, failed, or with a result."""
        trial = self.trials[number] = self._files.read(number)
        if trial.pruned is not None:
            self._tried[number] = self._ended_early(trial)
            self.progress.note(f"trial {number}: pruned after {trial.pruned} epochs")
            return
        plan_, named, parts = self._parts.pop(number)
        measured = [
            self._works[id_].measured[id_]
            for id_ in parts
            if id_ not in self.schedule.faults and id_ in self._works[id_].measured
        ]
        ids = named[None]
        fault = next((self.schedule.faults[id_] for id_ in (*ids, *parts) if id_ in self.schedule.faults), None)
        if fault is not None or not measured:
            self._conclude_failed(trial, fault, plan_)
            return
        record, _ = merged(plan_, measured, {}, self.command)
        result = trial_result(self.goal, record, named, len(self.planned.checked.run_data.validation))
        score, excess = result.score.value, result.excess(self.goal)
        self._tried[number] = PastTrial(trial.values, score, excess, failed=score is None)
        self.trials[number] = replace(trial, excess=excess)
        self._files.write(self.trials[number])
        self.progress.note(f"trial {number}: {_shown(trial.values)}: {describe_result(self.goal, result)}")

    def _conclude_failed(self, trial: Trial, fault: Fault | None, plan_: SweepPlan) -> None:
        """Write that a trial failed, unless its values are not the cause: a resumed search tries those again."""
        self.fault = fault
        cause = plan_.by_id.get(fault.cause or "") if fault is not None else None
        self.stopped |= cause is not None and not cause.entry.axes  # a model that all trials need failed
        if fault is not None and (fault.internal or fault.lost or self.stopped):
            self._tried[trial.number] = PastTrial(trial.values, failed=True)
            del self.trials[trial.number]
        else:
            self._fail(trial, "nothing was measured" if fault is None else fault.message)

    def _fail(self, trial: Trial, reason: str) -> None:
        self.trials[trial.number] = failed = replace(trial, failed=reason)
        self._files.write(failed)
        self._tried[trial.number] = self._ended_early(failed)
        self.progress.note(f"trial {trial.number}: {_shown(trial.values)} failed: {reason}")

    def _ended_early(self, trial: Trial) -> PastTrial:
        if trial.pruned is None or not trial.trainings or not self.goal.number.is_score:
            return PastTrial(trial.values, failed=True)
        best = max if self.goal.side == "max" else min
        values = self._curves.of(trial.trainings[0], f"validation_{self.goal.number.metric}")[: trial.pruned]
        if not values:
            return PastTrial(trial.values, failed=True)
        return PastTrial(trial.values, best(values), epochs=trial.pruned)


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in values.items())


def _code_by_entry(swept: SweptRecipe, code: Code) -> dict[str, Mapping[Any, Any]]:
    """Return the user code of each entry of a recipe, by its name in the recipe."""
    pairs = (pair for point in swept.points for pair in point.by_entry.items())
    return {entry: code[model] for entry, model in pairs if model in code}
