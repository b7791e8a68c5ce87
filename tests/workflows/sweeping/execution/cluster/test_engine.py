"""What the engine of a cluster sends where."""

from workflows.sweeping.execution.cluster.fake_ray import (
    DEVICE,
    DONE,
    MEASUREMENT,
    MIXED,
    WORKER,
    NodeDiedError,
    heard,
    started,
    training,
)

from kdbench.workflows.sweeping.execution.cluster.nodes import MEASURE
from kdbench.workflows.sweeping.execution.schedule import Task


def test_as_many_run_as_all_nodes_have_room_for(cluster):
    engine, ray = cluster(training("a", 2), a=WORKER, b=WORKER)
    assert engine.slots == 2
    assert not engine.meters
    many = [training(f"{n}") for n in range(9)]
    assert started(engine, *many) == ["0", "1", "2", "3"]
    assert ray.sent[0] == {"name": "0", "num_cpus": 1, "num_gpus": 0}


def test_a_task_in_rays_queue_is_queued_until_its_process_says_where_it_runs(cluster, clock):
    engine, ray = cluster(a=WORKER, b=WORKER)
    started(engine, *(training(name) for name in "xyz"))
    assert {*engine.queued} == {"x", "y", "z"}
    ray.mail = [("x", {"node": "a"}), ("y", {"step": [1, 2, ""]})]
    heard(engine, clock)
    assert {*engine.queued} == {"z"}
    ray.answers["x"] = NodeDiedError()
    ray.offers.clear()
    heard(engine, clock)
    assert {*engine.queued} == {"x", "z"}, "it waits for another node"


def test_the_end_of_a_task_makes_room(cluster, clock):
    engine, ray = cluster(a={"CPU": 1.0})
    started(engine, training("a"))
    assert not engine.accepts(training("b"))
    ray.answers["a"] = {**DONE, "fault": {"message": "wrong", "hint": "right"}}
    (event,) = heard(engine, clock)
    assert (event.ended, event.fault.message, event.fault.lost) == (True, "wrong", False)
    assert engine.accepts(training("b"))


def test_a_training_that_takes_a_gpu_has_a_process_of_its_own_kind(cluster):
    engine, ray = cluster(a={"CPU": 8.0, "GPU": 1.0})
    assert started(engine, training("a", gpus=1), training("b", gpus=1)) == ["a"]
    assert ray.sent[0]["runtime_env"]["env_vars"]
    assert started(engine, training("c")) == ["c"]
    assert "runtime_env" not in ray.sent[1]


def test_a_measurement_takes_all_of_a_node_that_measures(cluster):
    engine, ray = cluster(a=WORKER, b=MIXED)
    started(engine, MEASUREMENT)
    at = ("at", "b", False)
    resources = {"num_cpus": 2.0, "num_gpus": 0.0, "resources": {MEASURE: 1.0}, "scheduling_strategy": at}
    assert ray.sent == [{"name": "m", **resources}]
    assert not engine.accepts(Task("n", "measure")), "one at a time on a node"


def test_trainings_keep_away_from_a_node_that_is_to_measure(cluster):
    engine, ray = cluster(a=WORKER, b=MIXED)
    started(engine, MEASUREMENT)
    assert started(engine, *(training(f"{n}") for n in range(4))) == ["0", "1"]
    assert ray.sent[1]["label_selector"] == {"ray.io/node-id": "!in(b)"}


def test_a_node_that_only_measures_does_so_while_trainings_wait_and_another_one_does_not(cluster, clock):
    engine, ray = cluster(a=WORKER, b=MIXED, c=DEVICE)
    assert len(started(engine, *(training(f"{n}") for n in range(5)))) == 4
    assert started(engine, MEASUREMENT, Task("n", "measure")) == ["m"]
    assert ray.sent[-1]["scheduling_strategy"] == ("at", "c", False)
    heard(engine, clock)
    assert started(engine, Task("n", "measure")) == ["n"], "nothing else waits"


def test_a_training_that_still_runs_where_is_to_be_measured_takes_no_room_elsewhere(cluster, clock):
    engine, ray = cluster(a={"CPU": 1.0}, b={"CPU": 1.0, MEASURE: 1.0})
    started(engine, training("0"), training("1"), MEASUREMENT)
    ray.mail = [("1", {"node": "b"})]
    ray.answers["0"] = DONE
    heard(engine, clock, 2)
    assert started(engine, training("2"), training("3")) == ["2"]


def test_a_label_chooses_where_is_measured(cluster, monkeypatch):
    engine, ray = cluster(a=WORKER, b=DEVICE, c=DEVICE, label="device=pi5")
    listed = ray.nodes()
    listed[2]["Labels"] = {"device": "pi5"}
    monkeypatch.setattr(ray, "nodes", lambda: listed)
    engine._looked_s = 0
    started(engine, MEASUREMENT)
    assert ray.sent[0]["scheduling_strategy"] == ("at", "c", False)


def test_what_tasks_tell_is_passed_on(cluster, clock):
    engine, ray = cluster(a=WORKER)
    started(engine, training("a"))
    ray.mail = [("a", {"step": [1, 4, "epoch 1, on a"]}), ("a", {"note": "slow (on a)"})]
    step, note = heard(engine, clock)
    assert (step.done, step.total, step.detail) == (1, 4, "epoch 1, on a")
    assert note.note == "slow (on a)"


def test_what_a_task_told_comes_before_its_end_and_never_after_it(cluster, clock):
    engine, ray = cluster(a=WORKER)
    started(engine, training("a"))
    ray.mail, ray.answers["a"] = [("a", {"note": "slow"})], DONE
    note, end = heard(engine, clock)
    assert (note.note, end.ended) == ("slow", True)
    ray.mail = [("a", {"note": "late"})]
    assert heard(engine, clock) == []


def test_closing_ends_what_runs(cluster):
    engine, ray = cluster(a=WORKER)
    started(engine, training("a"))
    engine.close()
    assert "a" in ray.cancelled
