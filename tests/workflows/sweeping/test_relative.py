import numpy as np
import pytest

from kdbench.recipe import Measure
from kdbench.results.cards import ModelCard
from kdbench.results.records import Environment, RunRecord, measured
from kdbench.workflows.sweeping.relative import relative_latencies

AT = {"provider": "cpu", "threads": 1, "batch": 1}


def record(*models, axes=AT):
    cards = [
        ModelCard(id=m, name=m, role="student", file=m, sha256="0", input_shape=(1,), classes=2, parameters=1)
        for m in models
    ]
    times = [measured(m, "latency_p50_ns", 1e4, axes=axes) for m in models]
    known = {"kind": "run", "name": "x", "created": "", "command": ""}
    return RunRecord(**known, environment=Environment(host={}, libraries={}), models=cards, measurements=times)


def calls(**speeds):
    """Calls of models in 6 sessions of 40 rounds of 5 calls, on a machine that drifts within and between sessions."""
    rng, samples = np.random.default_rng(0), {}
    drift = np.repeat(np.exp(np.cumsum(rng.normal(0, 0.02, 6 * 40))), 5)
    for model, speed in speeds.items():
        key = f"{model}/cpu-t1-b1"
        samples[f"{key}/ns"] = (1e4 * speed * drift * np.exp(rng.normal(0, 0.01, len(drift)))).astype(np.int64)
        samples[f"{key}/session"] = np.repeat(np.arange(6), 200)
        samples[f"{key}/block"] = np.tile(np.repeat(np.arange(40), 5), 6)
    return samples


def test_the_drift_that_both_share_cancels():
    both = {m.model: m for m in relative_latencies(record("ref", "fast"), calls(ref=1, fast=0.4), "ref", Measure())}
    assert both["ref"].value == 1
    fast = both["fast"]
    assert fast.value == pytest.approx(0.4, rel=0.02)
    assert fast.interval.low < 0.4 < fast.interval.high
    assert fast.interval.high - fast.interval.low < 0.1
    assert fast.axes == AT


@pytest.mark.parametrize(("samples", "axes"), [(calls(ref=1), AT), (calls(ref=1, fast=1), {**AT, "mode": "server"})])
def test_without_calls_in_turns_there_is_no_ratio(samples, axes):
    latencies = relative_latencies(record("ref", "fast", axes=axes), samples, "ref", Measure())
    assert "fast" not in [m.model for m in latencies]
