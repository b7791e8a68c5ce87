from collections import deque

import pytest

from kdbench.progress import Silent
from kdbench.workflows.sweeping.execution.driver import TRIES, Driver
from kdbench.workflows.sweeping.execution.engine import Engine, Event, Inline
from kdbench.workflows.sweeping.execution.schedule import Fault, Schedule, Task


class Watch(Silent):
    def __init__(self):
        self.boards, self.notes = [], []

    def board(self, board):
        self.boards.append(board)

    def note(self, text):
        self.notes.append(text)


class Fake(Engine):
    """Two tasks at once, which end in the order in which they started; `faults` are those of a task's tries."""

    slots = 2

    def __init__(self, faults=None, clock=None):
        self.running, self.started, self.most = deque(), [], 0
        self.faults, self.clock = {id_: list(tries) for id_, tries in (faults or {}).items()}, clock

    def accepts(self, task):
        return len(self.running) < (2 if task.kind == "train" else 1)

    def start(self, task, message):
        self.started.append(task.id)
        self.running.append(task.id)
        self.most = max(self.most, len(self.running))
        assert message == {"task": task.id}

    def wait(self, timeout_s):
        if self.clock:
            self.clock.now += 10
        id_ = self.running.popleft()
        tries = self.faults.get(id_, [])
        return [Event(id_, done=1, total=2), Event(id_, ended=True, fault=tries.pop(0) if tries else None)]

    def close(self):
        pass


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


TASKS = [
    Task("t", "train", cost_s=5),
    *(Task(f"s{n}", "train", ("t",), cost_s=5) for n in range(3)),
    Task("m", "measure", ("s0", "s1", "s2"), cost_s=7),
]


def driven(engine, prepare=None, tasks=TASKS, **options):
    schedule, watch = Schedule(tasks), Watch()
    Driver(schedule, engine, prepare or (lambda task: {"task": task.id}), watch, **options).run()
    return schedule, watch


def test_everything_runs_once_side_by_side_and_measuring_last():
    engine = Fake()
    schedule, watch = driven(engine)
    assert engine.started == ["t", "s0", "s1", "s2", "m"]
    assert engine.most == 2
    assert schedule.done == {"t", "s0", "s1", "s2", "m"}
    assert [(row.name, row.done, row.remaining_s) for row in watch.boards[-1].rows] == [
        ("trainings", 4, None),
        ("measurements", 1, None),
    ]


def test_what_stands_is_not_started():
    engine = Fake()
    schedule, _ = driven(engine, lambda task: None if task.id != "s1" else {"task": task.id})
    assert engine.started == ["s1"]
    assert len(schedule.done) == 5


def test_a_fault_of_one_task_ends_no_other():
    engine = Fake({"s1": [Fault("diverged")]})
    schedule, watch = driven(engine)
    assert engine.started == ["t", "s0", "s1", "s2", "m"]
    assert schedule.faults == {"s1": Fault("diverged")}
    assert "s1 failed: diverged" in watch.notes


def test_the_needs_of_many_are_told_once():
    _, watch = driven(Fake({"t": [Fault("diverged")]}), lambda task: {"task": task.id})
    assert "t failed: diverged; 3 more need it" in watch.notes


def test_a_lost_process_is_tried_again_but_not_for_ever():
    lost = Fault("killed", lost=True)
    engine = Fake({"s1": [lost], "s2": [lost] * TRIES})
    schedule, _ = driven(engine)
    assert engine.started.count("s1") == 2
    assert engine.started.count("s2") == TRIES
    assert schedule.faults == {"s2": lost}


def test_the_end_of_a_task_may_bring_further_ones():
    def ended(task, fault):
        return [Task(f"{task.id}+", "train", (task.id,))] if len(task.id) < 4 else ()

    engine = Fake()
    driven(engine, tasks=[Task("a", "train")], ended=ended)
    assert engine.started == ["a", "a+", "a++", "a+++"]


def test_a_task_in_a_clusters_queue_is_queued_until_it_runs():
    class Cluster(Fake):
        @property
        def queued(self):
            return {*list(self.running)[1:], "of another sweep"}  # one at a time runs

    clock = Clock()
    _, watch = driven(Cluster(clock=clock), tasks=[Task(f"t{n}", "train") for n in range(2)], clock_s=clock)
    rows = [board.rows[0] for board in watch.boards]
    assert [(row.queued, row.running, row.done) for row in rows] == [(1, 1, 0), (0, 1, 1), (0, 0, 2)]
    assert [[*board.running] for board in watch.boards] == [["t0"], ["t1"], []]
    assert rows[1].remaining_s == 10 / 2, "a training takes ten seconds, without those in the queue"


def test_what_remains_is_estimated_from_what_was_taken():
    clock = Clock()
    engine = Fake(clock=clock)
    _, watch = driven(engine, clock_s=clock)
    first, later = watch.boards[0].rows[0], watch.boards[1].rows[0]
    assert first.remaining_s == 4 * 5 / 2, "the estimate, at two a time"
    pace = (10 + 2) / (5 + 2)  # one took 10 s instead of 5 s, and a tenth of all 20 s goes as estimated
    assert later.remaining_s == pytest.approx(3 * 5 * pace / 2)


def test_a_short_task_that_took_long_says_little_about_long_ones():
    clock = Clock()
    tasks = [Task("ready", "train", cost_s=1), *(Task(f"s{n}", "train", ("ready",), cost_s=1000) for n in range(3))]
    _, watch = driven(Fake(clock=clock), tasks=tasks, clock_s=clock)
    first, later = watch.boards[0].rows[0], watch.boards[1].rows[0]
    assert first.remaining_s == 3001 / 2
    assert later.remaining_s == pytest.approx(3000 / 2, rel=0.05), "not ten times as long"


def test_what_exists_already_does_not_make_the_estimate_more_trusted():
    clock = Clock()
    tasks = [
        *(Task(f"old{n}", "train", cost_s=1000) for n in range(9)),
        *(Task(f"s{n}", "train", cost_s=5) for n in range(4)),
    ]
    _, watch = driven(
        Fake(clock=clock), lambda task: None if "old" in task.id else {"task": task.id}, tasks, clock_s=clock
    )
    later = watch.boards[1].rows[0]
    pace = (10 + 2) / (5 + 2)  # as without the old ones: a tenth of the 20 s that remained is trusted
    assert later.remaining_s == pytest.approx(3 * 5 * pace / 2)


def test_the_rest_of_a_running_task_counts_alone():
    """Three trainings of about 100 s, one at a time; the events are after 40, 50 and 200 s."""

    class Slow(Fake):
        slots = 1

        def accepts(self, task):
            return not self.running

        def wait(self, timeout_s):
            self.clock.now, share = script.popleft() if script else (self.clock.now + 100, None)
            if share is None:
                return [Event(self.running.popleft(), ended=True)]
            return [Event(self.running[0], done=share, total=1)]

    script = deque([(40, 0.5), (50, 0.6), (200, 0.7), (210, None)])
    clock = Clock()
    tasks = [Task(f"t{n}", "train", cost_s=100) for n in range(3)]
    _, watch = driven(Slow(clock=clock), tasks=tasks, clock_s=clock)
    remaining = [board.rows[0].remaining_s for board in watch.boards]
    assert remaining[:4] == [300, 260, 250, 230], "the whole; what has passed; at least what is not done"
    pace = (210 + 30) / (100 + 30)
    assert remaining[4] == pytest.approx(200 * pace)


def test_inline_runs_each_task_in_this_process_and_catches_what_it_raises():
    done = []

    def perform(message, progress):
        done.append(message["task"])
        if message["task"] == "s1":
            raise ZeroDivisionError

    schedule, _ = driven(Inline(perform))
    assert done == ["t", "s0", "s1", "s2", "m"]
    assert schedule.faults["s1"].internal
    assert "ZeroDivisionError" in schedule.faults["s1"].message
