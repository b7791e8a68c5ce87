"""The loop that starts tasks, handles their ends, and reports the progress of the sweep."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kdbench.progress import Board, Progress, Row
from kdbench.workflows.sweeping.execution.engine import Engine, Event, Message
from kdbench.workflows.sweeping.execution.schedule import KINDS, Fault, Kind, Schedule, Task

TRIES = 3  # of a task whose process is lost
_WAIT_S = 5.0
_NAMES: Mapping[Kind, str] = {"train": "trainings", "score": "scorings", "measure": "measurements"}

Prepare = Callable[[Task], Message | Fault | None]
"""Returns the message of a task that may start; None if its result exists, a Fault if its inputs are missing."""

Ended = Callable[[Task, Fault | None], Iterable[Task]]
"""Handles the end of a task; returns further tasks."""


_TRUST = 0.1  # of all estimated work: how much measured work changes the pace as much as the estimate itself


@dataclass
class _Pace:
    """The estimated and the measured seconds of ended tasks of one kind.

    `total_s` is the estimate of all tasks whose results did not exist. The pace is that of the ended tasks, averaged
    with a share `_TRUST` of all work that is assumed to take as long as estimated: a few short tasks, such as
    pretrained teachers, show little about the others.
    """

    total_s: float = 0.0
    estimated_s: float = 0.0
    measured_s: float = 0.0
    ended: int = 0

    def expected_s(self, task: Task) -> float:
        """Return the seconds that a task will probably take."""
        if not self.ended:
            return task.cost_s
        if not self.estimated_s:
            return self.measured_s / self.ended
        trusted_s = _TRUST * self.total_s
        return task.cost_s * (self.measured_s + trusted_s) / (self.estimated_s + trusted_s)


@dataclass
class Driver:
    """Runs the tasks of a schedule on an engine.

    `prepare` makes the message of each task, `ended` handles its end.
    """

    schedule: Schedule
    engine: Engine
    prepare: Prepare
    progress: Progress
    ended: Ended = lambda *_: ()
    clock_s: Callable[[], float] = time.monotonic
    _started_s: dict[str, float] = field(default_factory=dict)
    _tries: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _details: dict[str, Event] = field(default_factory=dict)
    _paces: dict[Kind, _Pace] = field(default_factory=lambda: {kind: _Pace() for kind in KINDS})
    _left_s: dict[Kind, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))

    def run(self) -> None:
        """Run all tasks, also those that `ended` adds; failures are in the schedule's `faults`."""
        for task in self.schedule.tasks.values():
            self._expect(task)
        while self.schedule.unfinished:
            self._start()
            if not self.schedule.unfinished:
                break
            assert self.schedule.running, "a queued task can start if nothing runs"
            self._show()
            for event in self.engine.wait(_WAIT_S):
                self._handle(event)
        self._show()

    def _start(self) -> None:
        """Start the tasks that the engine accepts; those with existing results end at once."""
        started = True
        while started:
            started = False
            for kind in KINDS:
                while (task := self.schedule.next(kind)) is not None and self.engine.accepts(task):
                    self.schedule.start(task)
                    started = True
                    message = self.prepare(task)
                    if message is None or isinstance(message, Fault):
                        self._paces[kind].total_s -= task.cost_s  # it shows nothing of the pace
                        self._end(task, message)
                        continue
                    self._started_s[task.id] = self.clock_s()
                    self.engine.start(task, message)

    def _handle(self, event: Event) -> None:
        task = self.schedule.tasks[event.task]
        if task.id not in self.schedule.running:
            return  # an event of an abandoned try
        if event.note:
            self.progress.note(f"{task.id}: {event.note}")
        if not event.ended:
            self._details[task.id] = event
            return
        self._details.pop(task.id, None)
        if event.fault is not None and event.fault.lost and self._tries[task.id] < TRIES - 1:
            self._tries[task.id] += 1
            self.progress.note(f"{task.id}: {event.fault.message}; it starts again")
            self.schedule.requeue(task)
            return
        if event.fault is None:
            pace = self._paces[task.kind]
            pace.estimated_s += task.cost_s
            pace.measured_s += self.clock_s() - self._started_s[task.id]
            pace.ended += 1
        self._end(task, event.fault)

    def _end(self, task: Task, fault: Fault | None) -> None:
        failed = len(self.schedule.faults)
        self._left_s[task.kind] -= task.cost_s
        self.schedule.finish(task, fault)
        if fault is not None:
            waiting = len(self.schedule.faults) - failed - 1
            more = f"; {waiting} more need it" if waiting else ""
            self.progress.note(f"{task.id} failed: {fault.message}{more}")
        added = list(self.ended(task, fault))
        self.schedule.add(added)
        for new in added:
            self._expect(new)

    def _expect(self, task: Task) -> None:
        self._left_s[task.kind] += task.cost_s
        self._paces[task.kind].total_s += task.cost_s

    def _show(self) -> None:
        rows, waiting = [], {id_ for id_ in self.engine.queued if id_ in self.schedule.running}
        running = self.schedule.running - waiting
        for id_ in waiting:
            self._started_s[id_] = self.clock_s()  # waiting does not count as run time
        for kind in KINDS:
            counts = self.schedule.counts[kind]
            if not sum(counts.values()):
                continue
            queued = sum(self.schedule.tasks[id_].kind == kind for id_ in waiting)
            left = counts["queued"] + counts["running"]
            average = Task("", kind, cost_s=max(self._left_s[kind], 0.0) / max(left, 1))
            at_once = 1 if kind == "measure" else self.engine.slots
            left_s = left * self._paces[kind].expected_s(average) - self._spent_s(kind, running)
            known = self._paces[kind].ended or average.cost_s
            rows.append(
                Row(
                    name=_NAMES[kind],
                    queued=counts["queued"] + queued,
                    running=counts["running"] - queued,
                    done=counts["done"],
                    failed=counts["failed"],
                    remaining_s=max(0.0, left_s) / at_once if left and known else None,
                )
            )
        self.progress.board(Board(tuple(rows), {id_: _text(self._details.get(id_)) for id_ in sorted(running)}))

    def _spent_s(self, kind: Kind, running: set[str]) -> float:
        """Return how much of the expected seconds of the `running` tasks of a kind has passed.

        It is no more than the share that a task has reported as done: the rest of one that is slower than expected is
        still to come.
        """
        spent_s = 0.0
        for id_ in running:
            task, event = self.schedule.tasks[id_], self._details.get(id_)
            if task.kind == kind and event is not None and event.total:
                expected_s = self._paces[kind].expected_s(task) * min(event.done / event.total, 1.0)
                spent_s += min(self.clock_s() - self._started_s[id_], expected_s)
        return spent_s


def _text(event: Event | None) -> str:
    if event is None:
        return ""
    share = f"{100 * event.done / event.total:.0f} %" if event.total else ""
    return " ".join(part for part in (share, event.detail) if part)
