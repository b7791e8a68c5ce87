"""The energy probe in this process, with a counter of known power put in the place of the machine's."""

import time

import pytest

from kdbench.measure.energy import SOURCES, Available
from kdbench.measure.probes import energy
from kdbench.measure.staging import stage

POWER_W = 30.0


class Steps:
    """A counter of constant power that moves once a millisecond."""

    name = "steps"
    providers = frozenset({"cpu"})
    scope = "test"
    evidence = "measured"

    def available(self):
        return Available("always")

    def read(self):
        now = time.monotonic_ns()
        return now, now // 1_000_000 * POWER_W / 1e3


class Listener:
    def __init__(self):
        self.models = []

    def model(self, id_):
        self.models.append(id_)

    def step(self, done, total):
        assert done <= total


@pytest.fixture
def job(tiny, subject, test_set, tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "window_ns", lambda period_ns: 20_000_000)
    monkeypatch.setattr(energy, "_WARM_UP_NS", 1_000_000)
    SOURCES.names()
    monkeypatch.setitem(SOURCES._entries, "steps", Steps)
    subjects = [subject(tiny("a")), subject(tiny("broken", op="Unheard")), subject(tiny("c", batch=5))]
    models = stage(subjects, test_set, tmp_path, 0)
    models = [models[s.id].to_json() for s in subjects]
    return {"models": models, "provider": "cpu", "threads": 1, "source": "steps", "rounds": 3}


def test_windows_of_every_model_that_runs(job):
    listener = Listener()
    result = energy.run(job, listener)
    assert listener.models == ["a", "broken", "c"]
    assert list(result["errors"]) == ["broken"]
    assert {id_: len(taken) for id_, taken in result["windows"].items()} == {"a": 3, "c": 3}
    assert len(result["idle"]) == 2
    for taken in (*result["idle"], *result["windows"]["a"], *result["windows"]["c"]):
        assert taken["calls"] > 0
        # Both ends stand on an edge, so the power comes out but for how late each edge was seen.
        assert taken["energy_j"] == pytest.approx(
            POWER_W * round(taken["duration_ns"] / 1e6) / 1e3, abs=2 * POWER_W / 1e3
        )
