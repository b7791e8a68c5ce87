"""A sweep on a real cluster: a process is killed, a node removed, the driver killed, and every point completes once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from kdbench import data
from kdbench.files import storage
from kdbench.recipe.loading import load_sweep
from kdbench.workflows.sweep import sweep_recipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs ray: pip install 'kdbench[cluster]'"),
]

HERE = Path(__file__).parent
TESTS = HERE.parents[3]
MEASURING = {"resources": {"kdbench_measure": 1}, "labels": {"device": "this"}}
NODES = [{"num_cpus": 1, **MEASURING}, {"num_cpus": 0, **MEASURING}, {"num_cpus": 1}]
HEAD, DEVICE, TRAINER = range(3)  # the first does both, the last one will be removed
AXES = {
    "student.kd.training.optimizer.lr": [round(0.002 * step, 3) for step in range(1, 13)],
    "student.kd.terms.0.temperature": [1, 4],
}
DRIVER = """
import json, sys
from kdbench.recipe.loading import load_sweep
from kdbench.workflows.sweep import sweep_recipe
from kdbench.workflows.sweeping.execution.cluster import engine
engine.PERFORM = "cluster_work:perform"
recipe, out, address, axes = (json.loads(text) for text in sys.argv[1:])
sweep_recipe(load_sweep(recipe, axes), out, on=address, measure_on="this")
"""
NEVER_EQUAL = {"training_s"}  # wall times


class Loopback:
    """The cluster's process: nodes are removed by their numbers."""

    def __init__(self, environment):
        command = [sys.executable, str(HERE / "loopback.py"), json.dumps(NODES)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, **pipes)
        started = self._answer("address")
        self.address, self.ids = started["address"], started["ids"]

    def remove(self, number):
        self.process.stdin.write(f"remove {number}\n")
        self.process.stdin.flush()
        self._answer("removed")

    def _answer(self, key):
        for line in self.process.stdout:
            if line.startswith("{") and key in (answer := json.loads(line)):
                return answer
        raise AssertionError(f"the cluster ended with code {self.process.wait()}")

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(120) == 0


@pytest.fixture(scope="module")
def environment():
    """What all processes of a cluster need, this one included, to find each other, kdbench and the tests' modules."""
    from loopback import ENVIRONMENT

    paths = [str(HERE), str(TESTS), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module", autouse=True)
def _modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        yield


@pytest.fixture(scope="module")
def cluster(_modules, environment):
    one = Loopback({**os.environ, **environment})
    yield one
    one.stop()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    digits = data.load("digits")
    path = tmp_path_factory.mktemp("data") / "few.npz"
    train, test = digits.train, digits.test
    arrays = {"x_train": train.inputs[::6], "y_train": train.labels[::6]}
    np.savez(path, **arrays, x_test=test.inputs[::3], y_test=test.labels[::3])
    return {
        "name": "small",
        "data": {"name": f"npz:{path}", "validation": 0.2},
        "training": {"epochs": 1, "batch": 32, "threads": 1, "optimizer": {"name": "adamw", "lr": 0.01}},
        "teacher": [{"name": "teacher", "model": "64-16-10"}],
        "student": [{"name": "kd", "model": "64-8-10", "terms": [{"method": "kd"}]}],
        "measure": {"energy": "off"},
        "analysis": {"train_samples": 0},
    }


def lines(log):
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def until(condition, process):
    """Wait for a condition while a process runs."""
    while not condition():
        assert process.poll() is None, process.stderr.read()[-3000:]
        time.sleep(0.05)


def weights(folder):
    return {path.parent.name: storage.sha256(path) for path in folder.glob("checkpoints/*/weights.safetensors")}


def numbers(record):
    values = {}
    for m in record.measurements:
        if m.metric not in NEVER_EQUAL:
            values[m.model, m.metric, tuple(sorted(m.axes.items()))] = (m.value, m.interval, m.status)
    return values


def done_once(noted, done, kind):
    """Return what was done. Twice only what was in work where the node was removed or the driver killed, and lost."""
    times = Counter(line[done] for line in noted if done in line)
    completed = Counter(line["task"] for line in noted if line.get("kind") == kind)
    assert {*completed.values()} == {1}
    again = [name for name, count in times.items() if count > 1]
    assert len(again) <= 2
    assert all(times[name] == 2 and completed[name] == 1 for name in again)
    return times.keys()


def test_whatever_is_killed_every_point_lands_once_and_as_in_a_plain_run(
    cluster, environment, recipe, tmp_path, monkeypatch
):
    out, log = tmp_path / "out", tmp_path / "log"
    students = [student.name for student in load_sweep(recipe, AXES).recipe.student]
    (tmp_path / f"kill-{students[2]}").touch()

    arguments = [json.dumps(value) for value in (recipe, str(out), cluster.address, AXES)]
    command = [sys.executable, "-c", DRIVER, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, **environment}, **pipes) as driver:
        until(lambda: sum("trained" in line for line in lines(log)) >= 6, driver)
        cluster.remove(TRAINER)
        until(lambda: sum("trained" in line for line in lines(log)) >= 14, driver)
        until(lambda: sum("measured" in line for line in lines(log)) >= 2, driver)
        driver.send_signal(signal.SIGKILL)
        assert driver.stdout.read() == "", "what Ray says of the dead node would spoil --json"

    monkeypatch.setattr("kdbench.workflows.sweeping.execution.cluster.engine.PERFORM", "cluster_work:perform")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = sweep_recipe(load_sweep(recipe, AXES), out, on=cluster.address, measure_on="this", resume=True)
    assert (done.points, done.completed, done.failed) == (24, 24, {})

    noted = lines(log)
    assert done_once(noted, "trained", "train") == {"teacher", *students}
    assert len(done_once(noted, "measured", "measure")) == 25
    assert [line["killed"] for line in noted if "killed" in line] == [students[2]]

    tasks = sorted((line for line in noted if "task" in line), key=lambda line: line["begin"])
    ids = cluster.ids
    assert {line["node"] for line in tasks if line["kind"] == "train"} == {ids[HEAD], ids[TRAINER]}
    assert {line["node"] for line in tasks if line["kind"] == "measure"} <= {ids[HEAD], ids[DEVICE]}
    for id_ in ids:  # each of them does one task at a time
        assert all(one["end"] <= other["begin"] for one, other in pairwise(t for t in tasks if t["node"] == id_))

    assert not [line for line in noted if "overlap" in line], "tasks that were killed have no end in the log"

    plain = plain_run(recipe, tmp_path, monkeypatch)
    assert weights(out) == weights(plain.folder.path)
    assert numbers(done.record) == numbers(plain.record)


def plain_run(recipe, tmp_path, monkeypatch):
    """Do the same in this process, one task after the other."""
    import cluster_work

    cluster_work.quicken(monkeypatch)
    scoring = {**recipe, "measure": {**recipe["measure"], "times": False}}
    return sweep_recipe(load_sweep(scoring, AXES), tmp_path / "plain", on="inline")
