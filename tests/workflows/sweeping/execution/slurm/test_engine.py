"""The engine of Slurm: through submitit's local executor, and through commands that do as Slurm's."""

import json
import os
import time
from pathlib import Path

import pytest
import submitit
from workflows.sweeping.execution.slurm.fake_slurm import Slurm as Fake

from kdbench.progress import Silent
from kdbench.workflows.sweeping.execution.driver import Driver
from kdbench.workflows.sweeping.execution.schedule import Schedule, Task
from kdbench.workflows.sweeping.execution.slurm import engine as engines
from kdbench.workflows.sweeping.execution.slurm.engine import Slurm
from kdbench.workflows.sweeping.execution.slurm.options import options_of

NODES = [
    {"name": "a", "partition": "cpu", "cpus": 2, "features": []},
    {"name": "b", "partition": "edge", "cpus": 4, "features": ["pi5"]},
]
ON, MEASURE_ON = "slurm:partition=cpu,time=30min,mem=2GB,jobs=3", "partition=edge"


@pytest.fixture
def patient(monkeypatch):
    """Wait for no files: there is one machine."""
    monkeypatch.setattr(engines, "_POLL_S", 0.05)
    monkeypatch.setattr(engines, "VISIBLE_S", 0.2)
    monkeypatch.setattr(engines, "_RETRY_S", 0.2)


@pytest.fixture
def fake(tmp_path, monkeypatch, patient):
    one = Fake.made(tmp_path / "slurm", NODES)
    watcher = type(submitit.SlurmJob.watcher)(delay_s=1)  # it caches the jobs of other clusters under the same numbers
    monkeypatch.setattr(submitit.SlurmJob, "watcher", watcher)
    for name, value in one.environment.items():
        monkeypatch.setenv(name, value)
    yield one
    for job in one.jobs():
        if job["pid"]:
            one.end_as(job["id"], "CANCELLED")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder of a run; jobs find the tests' modules."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))))
    return folder


def engine():
    return Slurm(options_of(ON, MEASURE_ON), "slurm_work:perform")


def message(run, name, **more):
    return {"folder": str(run), "name": name, **more}


def noted(run, name):
    return json.loads((run / f"{name}.json").read_text())


def wait_for(condition, one=None):
    """Wait for a condition, while an engine is heard; return what it said."""
    events, deadline_s = [], time.monotonic() + 60
    while not condition(events):
        assert time.monotonic() < deadline_s, events
        events += one.wait(0.1) if one is not None else (time.sleep(0.02) or ())
    return events


def states(fake):
    """Return the states of all jobs once none runs: one that has answered takes a moment to end."""
    wait_for(lambda _: all(job["state"] != "RUNNING" for job in fake.jobs()))
    return [job["state"] for job in fake.jobs()]


def ended(events):
    return [event for event in events if event.ended]


@pytest.mark.usefixtures("patient")
def test_tasks_run_through_submitits_local_executor(run):
    one = Slurm(options_of(ON, MEASURE_ON), "slurm_work:perform", cluster="local")
    with one.open(run):
        one.start(Task("good", "train"), message(run, "good"))
        one.start(Task("bad", "train"), message(run, "bad", fails=True))
        events = wait_for(lambda events: len(ended(events)) == 2, one)
    faults = {event.task: event.fault for event in ended(events)}
    assert faults["good"] is None
    assert (faults["bad"].message, faults["bad"].hint, faults["bad"].lost) == ("wrong", "right", False)
    assert {event.task for event in events if event.note == "begun"} == {"good", "bad"}


def test_a_sweeps_tasks_are_jobs_with_what_they_take(fake, run, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "7")  # of an allocation that the driver runs in
    tasks = [Task(f"t{n}", "train", cpus=1 + n % 2) for n in range(4)]
    tasks.append(Task("measure all, batch 1", "measure", needs=("t0", "t3")))
    schedule, one = Schedule(tasks), engine()
    with one.open(run):
        Driver(schedule, one, lambda task: message(run, task.id[:2]), Silent()).run()
    assert schedule.done == {task.id for task in tasks}

    assert {*states(fake)} == {"COMPLETED"}
    jobs = {job["asked"]["job-name"].removeprefix("kdbench-"): job for job in fake.jobs()}
    training, measuring = jobs["t1"]["asked"], jobs["measure-all-batch-1"]["asked"]
    expected = {"partition": "cpu", "cpus-per-task": "2", "mem": "2000M", "time": "30", "nodes": "1", "requeue": True}
    assert expected.items() <= training.items()
    assert "exclusive" not in training
    assert {"partition": "edge", "exclusive": True, "mem": "0", "requeue": True}.items() <= measuring.items()
    assert "cpus-per-task" not in measuring, "it has all of its node"
    assert jobs["measure-all-batch-1"]["node"] == "b"
    assert not any(name.startswith("SLURM_") for name in noted(run, "t1")["environment"])
    assert noted(run, "t1")["environment"]["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in noted(run, "me")["environment"]
    assert not any((run / "slurm").iterdir())


def test_no_more_jobs_are_in_the_queue_than_are_allowed(fake, run):
    one = engine()
    with one.open(run):
        for name in "abc":
            assert one.accepts(Task(name, "train"))
            one.start(Task(name, "train"), message(run, name, until=str(run / "go")))
        assert not one.accepts(Task("d", "train"))
    assert states(fake) == ["CANCELLED"] * 3, "those that wait, too"


def test_a_job_that_waits_for_a_node_is_not_counted_as_running(fake, run):
    one, go = engine(), run / "go"
    with one.open(run):
        for name in ("a", "b"):
            one.start(Task(name, "train", cpus=2), message(run, name, until=str(go)))  # the node has two cores
        assert {*one.queued} == {"a", "b"}
        wait_for(lambda _: {*one.queued} == {"b"} and (run / "a.json").exists(), one)
        fake.end_as("1", "SUSPENDED")
        wait_for(lambda _: {*one.queued} == {"a"} and (run / "b.json").exists(), one)
        go.touch()
        fake.end_as("1", "PENDING")
        wait_for(lambda events: len(ended(events)) == 2, one)
        assert not one.queued


def test_a_preempted_job_goes_on_and_one_beyond_its_limit_gets_a_successor(fake, run):
    one, go = engine(), run / "go"
    with one.open(run):
        one.start(Task("t", "train"), message(run, "t", until=str(go)))
        wait_for(lambda _: (run / "t.json").exists(), one)
        fake.end_as("1", "PENDING")  # Slurm queues it again
        wait_for(lambda _: noted(run, "t")["tries"] == "xx", one)
        fake.end_as("1", "TIMEOUT")
        events = wait_for(lambda _: noted(run, "t")["tries"] == "xxx", one)
        go.touch()
        events += wait_for(ended, one)
    assert [event.fault for event in ended(events)] == [None]
    assert any("TIMEOUT" in event.note for event in events)
    assert states(fake) == ["TIMEOUT", "COMPLETED"]


@pytest.mark.parametrize(
    ("state", "lost", "words"), [("OUT_OF_MEMORY", False, "mem="), ("CANCELLED", False, "resume"), ("FAILED", True, "")]
)
def test_why_a_job_ended_is_told(fake, run, state, lost, words):
    one = engine()
    with one.open(run):
        one.start(Task("t", "train"), message(run, "t", until=str(run / "go")))
        wait_for(lambda _: (run / "t.json").exists(), one)
        fake.end_as("1", state)
        (event,) = ended(wait_for(ended, one))
    assert event.fault.lost == lost
    assert words in event.fault.hint


def test_what_a_job_printed_before_it_died_is_shown(fake, run):
    one = engine()
    with one.open(run):
        one.start(Task("t", "train"), message(run, "t", dies=True))
        (event,) = ended(wait_for(ended, one))
    assert event.fault.lost
    assert "the reason" in event.fault.hint


def test_the_next_driver_waits_for_the_jobs_of_one_that_is_gone(fake, run):
    gone, go = engine(), str(run / "go")
    gone.prepare(run)
    for name in ("same", "other", "none"):
        gone.start(Task(name, "train"), message(run, name, until=go))
    wait_for(lambda _: (run / "same.json").exists() and (run / "other.json").exists())

    one = engine()
    with one.open(run):
        one.start(Task("same", "train"), message(run, "same", until=go))
        one.start(Task("other", "train"), message(run, "other", until=go, epochs=9))
        Path(go).touch()
        events = wait_for(lambda events: len(ended(events)) == 2, one)
    assert all(event.fault is None for event in ended(events))
    assert noted(run, "same")["tries"] == "x", "it ran once"
    done, cancelled, unwanted, _ = states(fake)
    assert (done, cancelled) == ("COMPLETED", "CANCELLED")
    assert unwanted in {"COMPLETED", "CANCELLED"}, "nobody waits for it"
    assert not any((run / "slurm").iterdir())


def test_jobs_beyond_slurms_own_limit_wait(fake, run):
    (fake.folder / "limits.json").write_text(json.dumps({"most_jobs": 1}))
    one = engine()
    with one.open(run):
        for name in "ab":
            one.start(Task(name, "train"), message(run, name))
        events = wait_for(lambda events: len(ended(events)) == 2, one)
    assert all(event.fault is None for event in ended(events))
    assert any("job submit limit" in event.note for event in events)
