"""The plan of a sweep, shown before it starts: points, trainings, shared models, and estimated cost."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from kdbench import units
from kdbench.data.augment import repeated_views
from kdbench.workflows.study.run_data import RunData
from kdbench.workflows.sweeping.estimate import keeps_logits
from kdbench.workflows.sweeping.execution.schedule import Task
from kdbench.workflows.sweeping.plan import SweepPlan

_LISTED = 6


@dataclass(frozen=True)
class Outline:
    """A sweep before it starts.

    `axes` are its values by key. Of the `trainings`, `trained` are done already; `shared` are the models that several
    points have in common. At most `logit_tables` tables of logits are computed for all the `distilled` trainings.
    `timed` and `scored` are numbers of measurements, of several models each. `at_once` trainings run side by side.
    `training_s` and `measuring_s` estimate the remaining work.
    """

    points: int
    axes: Mapping[str, Sequence[Any]]
    seeds: Sequence[int]
    models: int
    trainings: int
    trained: int
    shared: Sequence[str]
    logit_tables: int
    distilled: int
    data: str
    timed: int
    scored: int
    at_once: int
    training_s: float
    measuring_s: float
    reference: str

    def to_json(self) -> dict[str, Any]:
        """Return the outline as JSON values, with the estimates in tenths of a second."""
        estimates = {"training_s": round(self.training_s, 1), "measuring_s": round(self.measuring_s, 1)}
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)} | estimates

    def lines(self) -> Iterator[str]:
        """Yield the outline as text."""
        grid = " × ".join(f"{len(values)} {key}" for key, values in self.axes.items())
        seeds = f"{len(self.seeds)} {_plural('seed', len(self.seeds))}"
        yield f"sweep: {self.points:,} {_plural('point', self.points)}{f' ({grid})' if grid else ''}, {seeds}"
        done = f", {self.trained:,} of them done" if self.trained else ""
        yield f"trainings: {self.trainings:,}{done}; {self.at_once} at once"
        if self.shared:
            more = f" and {len(self.shared) - _LISTED} more" if len(self.shared) > _LISTED else ""
            yield f"shared by all points that need them: {', '.join(self.shared[:_LISTED])}{more}"
        if self.logit_tables:
            tables = f"{self.logit_tables} {_plural('table', self.logit_tables)}"
            trainings = _plural("training", self.distilled)
            yield f"cached logits: {tables} at most, for {self.distilled:,} distilled {trainings}"
        yield f"data: {self.data}, loaded once by each process"
        parts = [f"{self.timed:,} with times, one after the other, each with {self.reference}"] if self.timed else []
        parts += [f"{self.scored:,} of scores alone"] if self.scored else []
        yield f"measurements: {', '.join(parts) or 'all are done'}"
        training, measuring = units.duration(self.training_s), units.duration(self.measuring_s)
        total = units.duration(self.training_s + self.measuring_s)
        yield f"about {total}: {training} of training, {measuring} of measuring"


def outline(
    plan: SweepPlan,
    axes: Mapping[str, Sequence[Any]],
    tasks: Sequence[Task],
    done: Container[str],
    run_data: RunData,
    at_once: int,
) -> Outline:
    """Return the outline of a plan with these `tasks`; `done` are those with existing results."""
    uses = Counter(name for point in plan.points for name in point.models)
    distilled = [job for job in plan.jobs if keeps_logits(job)]
    tables = {
        (teacher.id, run_data.part_of(job.entry.data).content, *repeated_views(job.entry.data.augment).items())
        for job in distilled
        for teacher in job.teachers
    }
    left = [task for task in tasks if task.id not in done]
    trainings = [task.cost_s for task in left if task.kind == "train"]
    dataset = run_data.dataset
    sizes = f"{len(run_data.train) + len(run_data.validation):,} training samples"
    longest = _critical_path_s(left)
    return Outline(
        points=len(plan.points),
        axes=axes,
        seeds=plan.recipe.seeds,
        models=sum(len(part.models) for part in plan.parts),
        trainings=len(plan.jobs),
        trained=sum(task.kind == "train" and task.id in done for task in tasks),
        shared=[name for name, count in uses.items() if count > 1],
        logit_tables=len(tables),
        distilled=len(distilled),
        data=f"{dataset.name}, {sizes}",
        timed=sum(task.kind == "measure" for task in left),
        scored=sum(task.kind == "score" for task in left),
        at_once=min(at_once, max(len(plan.jobs), 1)),
        training_s=max(sum(trainings) / at_once, longest),
        measuring_s=sum(task.cost_s for task in left if task.kind != "train"),
        reference=plan.reference,
    )


def _critical_path_s(tasks: Sequence[Task]) -> float:
    """Return the seconds of the longest chain of trainings that need each other."""
    ends: dict[str, float] = {}
    for task in tasks:
        if task.kind == "train":
            ends[task.id] = task.cost_s + max((ends.get(id_, 0.0) for id_ in task.needs), default=0.0)
    return max(ends.values(), default=0.0)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
