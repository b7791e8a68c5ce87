"""The engine of processes, with a worker that loads nothing and does as its message says."""

import os
import signal
import sys
import time

import pytest

from kdbench.workflows.sweeping.execution import processes
from kdbench.workflows.sweeping.execution.processes import Processes
from kdbench.workflows.sweeping.execution.schedule import Task

WORKER = """
import json, os, sys, time
print("a library's word", flush=True)
for line in iter(sys.stdin.readline, ""):
    message = json.loads(line)
    if message["do"] == "die":
        print("the reason", file=sys.stderr)
        sys.exit(9)
    if message["do"] == "fail":
        print(json.dumps({"fault": {"message": "wrong", "hint": "right"}, "peak_bytes": 5}), flush=True)
        continue
    said = f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', 'all')}"
    print(json.dumps({"step": [1, 2, said]}), flush=True)
    while not os.path.exists(message["until"]):
        time.sleep(0.01)
    print(json.dumps({"fault": None, "peak_bytes": 7}), flush=True)
"""


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "go").touch()
    made = []

    def make(cpus=2, gpus=(), need_bytes=1):
        one = Processes(cpus, gpus, need_bytes, (sys.executable, "-c", WORKER))
        made.append(one)
        return one

    make.go, make.wait = {"do": "work", "until": str(tmp_path / "go")}, {"do": "work", "until": str(tmp_path / "later")}
    make.let = (tmp_path / "later").touch
    yield make
    for one in made:
        one.close()


def ends(engine, count=1):
    """Wait for tasks to end; return their events, and what was said on the way by task."""
    ended, details, deadline = [], {}, time.monotonic() + 60
    while len(ended) < count:
        assert time.monotonic() < deadline
        for event in engine.wait(1):
            if event.ended:
                ended.append(event)
            elif event.detail:
                details[event.task] = event.detail
    return ended, details


def details_of(engine, *tasks):
    details = {}
    while details.keys() < {*tasks}:
        details |= {event.task: event.detail for event in engine.wait(1) if event.detail}
    return details


def test_a_process_does_one_task_after_the_other(engine):
    one = engine()
    pids = set()
    for id_ in ("a", "b"):
        one.start(Task(id_, "train"), engine.go)
        (event,), details = ends(one)
        assert event.fault is None
        pids.add(details[id_])
    assert len(pids) == 1


def test_as_many_run_as_there_are_cores_and_a_larger_task_runs_alone(engine):
    one = engine(cpus=3)
    large, small = Task("large", "train", cpus=8), Task("small", "train", cpus=2)
    assert one.accepts(large)
    one.start(small, engine.wait)
    assert one.accepts(Task("b", "train", cpus=1))
    assert not one.accepts(Task("c", "train", cpus=2))
    assert not one.accepts(large)


def test_while_one_measures_nothing_else_runs(engine):
    one = engine(cpus=4)
    one.start(Task("a", "train"), engine.wait)
    assert not one.accepts(Task("m", "measure"))
    assert one.accepts(Task("s", "score"))
    engine.let()
    ends(one)
    one.start(Task("m", "measure"), engine.go)
    assert not one.accepts(Task("b", "train"))


def test_each_process_has_gpus_of_its_own(engine):
    one = engine(cpus=8, gpus=("0", "1"))
    for id_ in ("a", "b"):
        one.start(Task(id_, "train", gpus=1), engine.wait)
    assert not one.accepts(Task("c", "train", gpus=1))
    assert one.accepts(Task("d", "train"))
    details = details_of(one, "a", "b")
    assert sorted(text.split()[1] for text in details.values()) == ["0", "1"]


def test_no_process_starts_that_memory_has_no_room_for(engine, monkeypatch):
    monkeypatch.setattr(processes, "available_bytes", lambda: 100)
    one = engine(cpus=4, need_bytes=1000)
    assert one.accepts(Task("a", "train")), "one runs whatever it needs"
    one.start(Task("a", "train"), engine.go)
    assert not one.accepts(Task("b", "train"))
    ends(one)  # it needed 7 bytes at most
    one.start(Task("a", "train"), engine.go)
    assert one.accepts(Task("b", "train"))


def test_an_error_of_a_task_is_its_fault_and_the_process_goes_on(engine):
    one = engine()
    one.start(Task("a", "train"), {"do": "fail"})
    (event,), _ = ends(one)
    assert (event.fault.message, event.fault.hint, event.fault.lost) == ("wrong", "right", False)
    one.start(Task("b", "train"), engine.go)
    assert ends(one)[0][0].fault is None


def test_a_process_that_ends_gives_its_task_back(engine):
    one = engine()
    one.start(Task("a", "train"), {"do": "die"})
    (event,), _ = ends(one)
    assert event.fault.lost
    assert "code 9" in event.fault.message
    assert "the reason" in event.fault.hint
    one.start(Task("a", "train"), engine.go)
    assert ends(one)[0][0].fault is None


def test_after_a_kill_fewer_run_at_once(engine):
    one = engine(cpus=4)
    for id_ in ("a", "b"):
        one.start(Task(id_, "train"), engine.wait)
    details = details_of(one, "a", "b")
    os.kill(int(details["a"].split()[0]), signal.SIGKILL)
    (event,), _ = ends(one)
    assert (event.task, event.fault.lost) == ("a", True)
    assert "killed" in event.fault.message
    assert not one.accepts(Task("a", "train"))
    engine.let()
    ends(one)
    assert one.accepts(Task("a", "train"))
