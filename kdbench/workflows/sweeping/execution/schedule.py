"""The order of tasks: each after those that it needs, trainings first; a failure affects only dependent trainings."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Literal

Kind = Literal["train", "score", "measure"]
KINDS: tuple[Kind, ...] = ("train", "score", "measure")


@dataclass(frozen=True)
class Task:
    """A training, scoring or measurement, with the tasks that it `needs` first and its resources.

    A training runs only if everything that it `needs` succeeded. Scoring and measuring start when those have ended,
    with the models that succeeded. `cost_s` is an estimate of its seconds. A task of the kind `measure` has its machine
    to itself.
    """

    id: str
    kind: Kind
    needs: tuple[str, ...] = ()
    cpus: int = 1
    gpus: int = 0
    cost_s: float = 0.0


@dataclass(frozen=True)
class Fault:
    """Why a task failed: the `message` and `hint` of an error; a bug of kdbench is `internal`.

    `lost` says that its process ended without a result, so that another try may succeed. `cause` is the id of the task
    whose failure prevents this one from running.
    """

    message: str
    hint: str = ""
    internal: bool = False
    lost: bool = False
    cause: str | None = None


class Schedule:
    """The state of all tasks. A change takes about the same time for any number of tasks."""

    def __init__(self, tasks: Iterable[Task] = ()) -> None:
        self.tasks: dict[str, Task] = {}
        self.faults: dict[str, Fault] = {}
        self.done: set[str] = set()
        self.running: set[str] = set()
        self.counts: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
        self._ready: dict[Kind, list[tuple[int, str]]] = {kind: [] for kind in KINDS}
        self._order: dict[str, int] = {}
        self._waiting: dict[str, int] = {}  # how many of its needs have not ended
        self._needing: dict[str, list[str]] = {}
        self.add(tasks)

    def add(self, tasks: Iterable[Task]) -> None:
        """Add tasks, each after those it needs; known tasks are skipped."""
        for task in tasks:
            if task.id in self.tasks:
                continue
            self.tasks[task.id], self._order[task.id] = task, len(self._order)
            self.counts[task.kind]["queued"] += 1
            unfinished = [id_ for id_ in dict.fromkeys(task.needs) if not self.has_ended(id_)]
            for id_ in unfinished:
                self._needing.setdefault(id_, []).append(task.id)
            self._waiting[task.id] = len(unfinished)
            if not unfinished and (cause := self._admit(task)) is not None:
                self._end(task, "queued", cause)

    def has_ended(self, id_: str) -> bool:
        """Return whether a task is done or has failed."""
        return id_ in self.done or id_ in self.faults

    @property
    def unfinished(self) -> int:
        """How many tasks are queued or running."""
        return len(self.tasks) - len(self.done) - len(self.faults)

    def next(self, kind: Kind) -> Task | None:
        """Return the first task of a kind that may run now; None if there is none."""
        return self.tasks[self._ready[kind][0][1]] if self._ready[kind] else None

    def start(self, task: Task) -> None:
        """Mark the first ready task of its kind as running."""
        _, id_ = heappop(self._ready[task.kind])
        assert id_ == task.id, "the first one starts first"
        self.running.add(id_)
        self._count(task, "queued", "running")

    def requeue(self, task: Task) -> None:
        """Queue a running task for another try."""
        self.running.discard(task.id)
        self._count(task, "running", "queued")
        heappush(self._ready[task.kind], (self._order[task.id], task.id))

    def finish(self, task: Task, fault: Fault | None = None) -> None:
        """Mark a running task as done, or as failed by a fault."""
        self.running.discard(task.id)
        self._end(task, "running", fault)

    def _end(self, task: Task, before: str, fault: Fault | None) -> None:
        ended = [(task, before, fault)]
        while ended:  # not recursive: thousands may depend on one
            task, before, fault = ended.pop()
            if fault is None:
                self.done.add(task.id)
            else:
                self.faults[task.id] = fault
            self._count(task, before, "done" if fault is None else "failed")
            for id_ in self._needing.pop(task.id, ()):
                self._waiting[id_] -= 1
                if not self._waiting[id_] and (cause := self._admit(self.tasks[id_])) is not None:
                    ended.append((self.tasks[id_], "queued", cause))

    def _admit(self, task: Task) -> Fault | None:
        """Queue a task whose needs have ended; return a fault if it cannot run."""
        failed = next((id_ for id_ in task.needs if id_ in self.faults), None)
        if task.kind == "train" and failed is not None:
            fault = self.faults[failed]
            first = fault.cause or failed
            message = fault.message if fault.cause else f"it needs {first}, which failed: {fault.message}"
            return replace(fault, message=message, cause=first)
        heappush(self._ready[task.kind], (self._order[task.id], task.id))
        return None

    def _count(self, task: Task, before: str, after: str) -> None:
        self.counts[task.kind][before] -= 1
        self.counts[task.kind][after] += 1
