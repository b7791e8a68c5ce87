"""An engine of a cluster, on a Ray that runs nothing."""

from types import SimpleNamespace

import pytest
from workflows.sweeping.execution.cluster.fake_ray import FakeRay

from kdbench.workflows.sweeping.execution.cluster import engine as engines
from kdbench.workflows.sweeping.execution.cluster.engine import Cluster


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
