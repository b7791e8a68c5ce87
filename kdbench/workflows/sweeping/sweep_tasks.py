"""The tasks of a checked sweep: their resources, their messages, and which results exist in the folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdbench.distill.training import fit
from kdbench.distill.training.devices import device_of, processes_of
from kdbench.files import storage
from kdbench.recipe import Recipe
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.export_ahead import has_meter
from kdbench.workflows.stages.start import CheckedRun
from kdbench.workflows.study.plan import Job
from kdbench.workflows.sweeping.estimate import part_cost
from kdbench.workflows.sweeping.execution.engine import Message
from kdbench.workflows.sweeping.execution.schedule import Fault, Schedule, Task
from kdbench.workflows.sweeping.existing import PartFolder, content_of, former_names, is_done, part_folder
from kdbench.workflows.sweeping.plan import Part, SweepPlan
from kdbench.workflows.sweeping.tasks import measure_message, train_message

_STATE = "sweep.json"
_EXPORT_S = 5.0  # of a training whose weights exist


@dataclass(frozen=True)
class PlannedSweep:
    """A sweep that can start: its plan, and the recipe with data and networks checked.

    `axes` are its values by key; `keys` are the hashes and `costs` the estimated seconds of trainings, by the job's id.
    `threads` is the number of torch's threads if the recipe does not set it.
    """

    plan: SweepPlan
    axes: Mapping[str, Sequence[Any]]
    checked: CheckedRun
    keys: Mapping[str, str]
    costs: Mapping[str, float]
    threads: int

    @property
    def recipe(self) -> Recipe:
        """The recipe with all models of the sweep."""
        return self.plan.recipe

    @property
    def data(self) -> str:
        """The content hash of the data."""
        return self.checked.run_data.content


def with_reference(planned: PlannedSweep, folder: RunFolder) -> PlannedSweep:
    """Return the plan with the reference with which the sweep in the folder began, if the plan still has that model."""
    file = folder.path / _STATE
    known = content_of(file, "state of the sweep").get("reference")
    by_key = {key: id_ for id_, key in planned.keys.items()}
    reference = by_key.get(str(known), planned.plan.reference)
    storage.write_json(file, {"reference": planned.keys[reference]})
    return replace(planned, plan=replace(planned.plan, reference=reference))


def tasks_of(planned: PlannedSweep, folder: RunFolder | None = None) -> list[Task]:
    """Return the tasks of a sweep: one training per job, then the measurements.

    The costs of trainings that began in `folder` are those of the remaining epochs.
    """
    sweep_plan, measure = planned.plan, planned.recipe.measure
    tasks, metered = [], has_meter(measure)
    for job in sweep_plan.jobs:
        cpus, gpus = _resources(job, planned.threads)
        cost_s = planned.costs[job.id]
        if folder is not None:
            cost_s = _remaining_s(job, planned.keys[job.id], folder.checkpoint(job.id), cost_s)
        tasks.append(Task(job.id, "train", sweep_plan.needs(job), cpus, gpus, cost_s))
    for part in sweep_plan.parts:
        needs = tuple(dict.fromkeys((*part.companions, *part.jobs)))
        cost_s = part_cost(part, measure, metered=metered)
        tasks.append(Task(part.id, "measure" if part.timed else "score", needs, cost_s=cost_s))
    return tasks


def _remaining_s(job: Job, key: str, checkpoint: Path, cost_s: float) -> float:
    """Return the estimated seconds that remain of a job, which takes `cost_s` from the beginning."""
    if fit.finished(checkpoint, key) is not None:
        return min(cost_s, _EXPORT_S)
    epochs = job.training.last_epoch
    return cost_s * (1 - min(fit.epochs_done(checkpoint, key), epochs) / epochs) if epochs else cost_s


def _resources(job: Job, threads: int) -> tuple[int, int]:
    """Return the number of cores and of GPUs that a job's training needs."""
    if job.logits is not None or job.entry.is_ready:
        return 1, 0
    training = job.training
    count = processes_of(training)
    if device_of(training).type == "cuda":
        return count, count
    return count * (training.threads or threads), 0


def done_tasks(planned: PlannedSweep, folder: RunFolder) -> set[str]:
    """Return the tasks whose results exist in a folder, under these or other names."""
    names, plan, keys = former_names(planned.keys, folder), planned.plan, planned.keys
    done = {
        job.id
        for job in plan.jobs
        if fit.finished(folder.checkpoint(names.get(job.id, job.id)), keys[job.id]) is not None
    }
    if names:
        return done  # parts can be identified only after their models' files have been renamed
    for part in plan.parts:
        jobs = [plan.by_id[id_] for id_ in (*part.companions, *part.jobs)]
        exported = all(is_done(job, keys[job.id], folder) for job in jobs)
        if exported and part_folder(plan, part, planned.data, folder).is_complete():
            done.add(part.id)
    return done


class SweepTasks:
    """The tasks of a sweep in its folder; with `metered`, a meter's joules are those of one training.

    `schedule` is an existing one that the tasks are part of; `pruning` has the pruning settings of jobs, by id.
    """

    def __init__(
        self,
        planned: PlannedSweep,
        folder: RunFolder,
        command: str,
        *,
        metered: bool,
        schedule: Schedule | None = None,
        pruning: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.planned, self.folder, self.command = planned, folder, command
        self.schedule = Schedule(tasks_of(planned, folder)) if schedule is None else schedule
        self._pruning = pruning or {}
        self.measured: dict[str, tuple[Part, PartFolder]] = {}
        self._parts = {part.id: part for part in planned.plan.parts}
        self._metered = metered

    def prepare(self, task: Task) -> Message | Fault | None:
        """Return the message of a task; None if its result exists."""
        plan, threads = self.planned.plan, self.planned.threads
        if task.kind == "train":
            job = plan.by_id[task.id]
            if is_done(job, self.planned.keys[job.id], self.folder):
                return None
            pruning = self._pruning.get(job.id)
            return train_message(plan, job, self.folder, threads=threads, metered=self._metered, pruning=pruning)
        lost = [id_ for id_ in task.needs if id_ in self.schedule.faults]
        part = self._parts[task.id].without(lost)
        if not part.models:
            return replace(self.schedule.faults[lost[0]], cause=lost[0])
        target = part_folder(plan, part, self.planned.data, self.folder)
        self.measured[task.id] = part, target
        if target.is_complete():
            return None
        return measure_message(plan, part, target, self.folder, command=self.command, threads=threads)

    @property
    def complete(self) -> list[tuple[Part, PartFolder]]:
        """The measured parts, in the plan's order, without those that failed."""
        faults = self.schedule.faults
        return [self.measured[id_] for id_ in self._parts if id_ in self.measured and id_ not in faults]

    @property
    def failed(self) -> dict[str, Fault]:
        """Why models have no numbers, by their ids."""
        faults = self.schedule.faults
        measured = {id_ for part, _ in self.complete for id_ in part.models}
        return {
            id_: faults.get(id_) or faults.get(part.id) or Fault("what it is compressed from failed")
            for part in self._parts.values()
            for id_ in part.models
            if id_ not in measured
        }
