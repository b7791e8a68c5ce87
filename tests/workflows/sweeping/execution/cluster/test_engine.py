"""The engine of a cluster, on a Ray that runs nothing: what it sends where, and what it makes of each end."""

from types import SimpleNamespace

import pytest

from kdbench.errors import InputError
from kdbench.workflows.sweeping.execution.cluster import engine as engines
from kdbench.workflows.sweeping.execution.cluster.engine import Cluster
from kdbench.workflows.sweeping.execution.cluster.nodes import MEASURE
from kdbench.workflows.sweeping.execution.schedule import Task

DONE = {"fault": None, "left": {}, "host": "a"}
MEASUREMENT = Task("m", "measure")
WORKER, MIXED, DEVICE = {"CPU": 2.0}, {"CPU": 2.0, MEASURE: 1.0}, {MEASURE: 1.0}


def training(name, cpus=1, gpus=0):
    return Task(name, "train", cpus=cpus, gpus=gpus)


class NodeDiedError(Exception):
    """As Ray calls it."""


class WorkerCrashedError(Exception):
    """As Ray calls it."""


class FakeRay:
    """Ray without processes: `answers` are what tasks end with, by their names; `sent` is what was asked of it."""

    def __init__(self, **nodes):
        self.offers = nodes
        self.answers, self.sent, self.mail, self.cancelled = {}, [], [], []
        affinity = lambda node, soft: ("at", node, soft)  # noqa: E731
        strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=affinity)
        self.util = SimpleNamespace(scheduling_strategies=strategies)
        self.probed = None

    def nodes(self):
        return [
            {"NodeID": id_, "Alive": offers is not None, "NodeManagerHostname": id_, "Resources": offers or {}}
            for id_, offers in self.offers.items()
        ]

    def get_runtime_context(self):
        return SimpleNamespace(get_node_id=lambda: next(iter(self.offers)))

    def remote(self, **_):
        return lambda function: _Remote(self, function.__name__, {})

    def wait(self, references, num_returns, timeout):
        ready = [one for one in references if one in self.answers or one.startswith("probe")][:num_returns]
        return ready, [one for one in references if one not in ready]

    def get(self, reference, timeout=None):
        if reference == "mail":
            messages, self.mail = self.mail, []
            return messages
        answer = self.probed if reference.startswith("probe") else self.answers.pop(reference)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cancel(self, reference, force):
        self.cancelled.append(reference)

    def kill(self, actor):
        self.cancelled.append(actor)


class _Remote:
    def __init__(self, ray, function, options):
        self._ray, self._function, self._options = ray, function, options
        self.take = SimpleNamespace(remote=lambda: "mail")

    def options(self, **options):
        return _Remote(self._ray, self._function, options)

    def remote(self, *_, **__):
        if self._function == "Mailbox":
            return self
        if self._function == "probe":
            return f"probe {self._options['scheduling_strategy'][1]}"
        self._ray.sent.append(self._options)
        return self._options["name"]


@pytest.fixture
def clock(monkeypatch):
    one = SimpleNamespace(now=1000.0)
    fake = SimpleNamespace(monotonic=lambda: one.now, sleep=lambda s: setattr(one, "now", one.now + s))
    monkeypatch.setattr(engines, "time", fake)
    return one


@pytest.fixture
def cluster(clock, tmp_path):
    def make(*tasks, label=None, **nodes):
        ray = FakeRay(**nodes)
        one = Cluster(ray, tasks, label)
        one.prepare(tmp_path)
        return one, ray

    return make


def started(engine, *tasks, **message):
    """Start the tasks that are accepted, in order, until one is not; return their names."""
    names = []
    for task in tasks:
        if not engine.accepts(task):
            break
        engine.start(task, message)
        names.append(task.id)
    return names


def heard(engine, clock, steps=1):
    events = []
    for _ in range(steps):
        clock.now += 5
        events += engine.wait(0)
    return events


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


def test_a_node_that_does_not_share_the_folder_is_refused(clock, tmp_path):
    ray = FakeRay(a=WORKER)
    ray.probed = {"message": "node a does not see the folder", "hint": "share it"}
    with pytest.raises(InputError, match="does not see the folder"):
        Cluster(ray, [training("a")], None).prepare(tmp_path)


def test_closing_ends_what_runs(cluster):
    engine, ray = cluster(a=WORKER)
    started(engine, training("a"))
    engine.close()
    assert "a" in ray.cancelled
