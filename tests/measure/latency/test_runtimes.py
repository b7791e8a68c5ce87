"""The ratio of two runtimes: of the medians of processes that ran one after the other in each session."""

import dataclasses

import numpy as np
import pytest

from kdbench.measure.bench_model import Refusal
from kdbench.measure.latency.configurations import configurations
from kdbench.measure.latency.runtimes import paired_configurations, runtime_ratios
from kdbench.recipe.tables.measure import Measure
from kdbench.statistics import Clustered, Plan

CONFIG = Measure(runtime=("openvino", "onnxruntime"), batch=(8,), mode=("stream", "server"), rate_per_s=5)


@pytest.fixture
def model(tiny, bench_model):
    return bench_model(tiny("m"))


def calls(session_ns: list[float], per_session: int = 6) -> Clustered:
    """Return calls that scatter by 1 % about each session's time, of which one in six is ten times as long."""
    rng = np.random.default_rng(0)
    times = np.array(session_ns)[:, None] * (1 + 0.01 * rng.standard_normal((len(session_ns), per_session)))
    times[:, 0] *= 10
    session, block = np.indices(times.shape)
    return Clustered(times.ravel(), session.ravel(), block.ravel())


def test_runtimes_are_compared_with_the_first_configured_one_but_not_their_waits(model):
    pairs = list(paired_configurations(configurations([model], CONFIG), CONFIG))
    assert [(a.runtime, b.runtime, a.batch, b.batch, b.mode) for a, b in pairs] == [
        ("openvino", "onnxruntime", 1, 1, "stream"),
        ("openvino", "onnxruntime", 8, 8, "stream"),
    ]


def test_drift_from_session_to_session_cancels(model):
    cells = configurations([model], CONFIG)
    base, other = next(paired_configurations(cells, CONFIG))
    drift = np.array([1.0, 1.4, 0.8, 1.2, 2.0, 1.0, 1.6, 0.9])
    samples = {("m", base.number): calls([*(1000 * drift)]), ("m", other.number): calls([*(400 * drift)])}
    ratios = {m.axes["batch"]: m for m in runtime_ratios([model], cells, samples, Plan(), CONFIG)}
    assert ratios[1].axes == {"provider": "cpu", "threads": 1, "batch": 1, "beside": "openvino"}
    assert ratios[1].value == pytest.approx(2.5, rel=0.02)
    assert ratios[1].interval.low <= 2.5 <= ratios[1].interval.high
    assert ratios[1].interval.high / ratios[1].interval.low < 1.1
    assert ratios[1].n == 8
    assert (ratios[8].value, ratios[8].status) == (None, "unavailable")


def test_a_model_that_the_first_runtime_refuses_has_the_reason(model):
    refused = dataclasses.replace(model, refused={"openvino": Refusal("no kernel for Foo")})
    cells = configurations([refused], CONFIG)
    only = [c for c in cells if c.runtime == "onnxruntime" and c.mode == "stream"]
    assert all(0 in c.models for c in only)
    ratios = list(runtime_ratios([refused], cells, {}, Plan(), CONFIG))
    assert [m.value for m in ratios] == [None] * len(ratios)
    assert all("no kernel for Foo" in str(m.reason) for m in ratios)
