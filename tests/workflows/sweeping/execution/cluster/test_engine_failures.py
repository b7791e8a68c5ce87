"""What the engine of a cluster makes of killed processes, dead nodes and files that do not arrive."""

import pytest
from workflows.sweeping.execution.cluster.fake_ray import (
    DEVICE,
    DONE,
    MEASUREMENT,
    WORKER,
    FakeRay,
    NodeDiedError,
    WorkerCrashedError,
    heard,
    started,
    training,
)

from kdbench.errors import InputError
from kdbench.workflows.sweeping.execution.cluster.engine import Cluster
from kdbench.workflows.sweeping.execution.schedule import Task


def test_a_killed_process_is_the_drivers_to_start_again(cluster, clock):
    engine, ray = cluster(a=WORKER)
    started(engine, training("a"))
    ray.answers["a"] = WorkerCrashedError()
    (event,) = heard(engine, clock)
    assert event.ended
    assert event.fault.lost
    assert "killed" in event.fault.message


def test_a_task_whose_node_died_starts_again_on_another_one(cluster, clock):
    engine, ray = cluster(a=WORKER, b=WORKER)
    started(engine, training("a"))
    ray.answers["a"] = NodeDiedError()
    ray.offers["b"] = None
    (event,) = heard(engine, clock)
    assert not event.ended
    assert "node failed" in event.note
    assert [sent["name"] for sent in ray.sent] == ["a", "a"]
    ray.answers["a"] = DONE
    (event,) = heard(engine, clock)
    assert event.ended
    assert event.fault is None


def test_a_task_under_which_nodes_keep_dying_fails(cluster, clock):
    engine, ray = cluster(a=WORKER)
    started(engine, training("a"))
    events = []
    while not any(event.ended for event in events):
        ray.answers["a"] = NodeDiedError()
        events += heard(engine, clock)
    assert len(ray.sent) == 11
    assert not events[-1].fault.lost


def test_without_any_node_left_tasks_wait_for_one_to_come_back(cluster, clock):
    engine, ray = cluster(a=WORKER, b=DEVICE)
    started(engine, MEASUREMENT)
    ray.answers["m"], ray.offers["b"] = NodeDiedError(), None
    heard(engine, clock)
    assert len(ray.sent) == 1
    ray.offers["d"] = DEVICE
    heard(engine, clock)
    assert ray.sent[-1]["scheduling_strategy"] == ("at", "d", False)


def test_not_for_ever_and_the_next_does_not_wait_again(cluster, clock):
    engine, ray = cluster(a=WORKER, b=DEVICE)
    ray.offers["b"] = None
    clock.now += 10
    started(engine, MEASUREMENT)
    (event,) = heard(engine, clock, 200)
    assert "no node of the cluster measures any more" in event.fault.message
    started(engine, Task("n", "measure"))
    (event,) = heard(engine, clock)
    assert event.task == "n"
    assert event.fault is not None


def test_a_task_ends_when_its_files_are_seen(cluster, clock, tmp_path):
    engine, ray = cluster(a=WORKER)
    started(engine, training("a"), folder=str(tmp_path))
    (tmp_path / "file").write_text("an earlier one")
    ray.answers["a"] = {**DONE, "left": {"file": (tmp_path / "file").stat().st_mtime_ns + 1}}
    assert heard(engine, clock) == []
    engine._arriving[0][1]["file"] -= 1
    (event,) = heard(engine, clock)
    assert event.fault is None


def test_files_that_are_never_seen_are_a_failure(cluster, clock, tmp_path):
    engine, ray = cluster(a=WORKER)
    started(engine, training("a"), folder=str(tmp_path))
    ray.answers["a"] = {**DONE, "left": {"file": 1}}
    (event,) = heard(engine, clock, 14)
    assert "were not seen" in event.fault.message
    assert "share" in event.fault.hint


def test_a_node_that_does_not_share_the_folder_is_refused(clock, tmp_path):
    ray = FakeRay(a=WORKER)
    ray.probed = {"message": "node a does not see the folder", "hint": "share it"}
    with pytest.raises(InputError, match="does not see the folder"):
        Cluster(ray, [training("a")], None).prepare(tmp_path)
