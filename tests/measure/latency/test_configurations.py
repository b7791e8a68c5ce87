"""In which ways models are called, and how the time is shared among them."""

import pytest

from kdbench.measure.latency.configurations import configurations
from kdbench.recipe.tables.measure import Measure
from kdbench.results.samples import configuration_key


def test_batch_1_at_every_thread_count_and_batches_at_the_first(tiny, bench_model):
    findings = configurations([bench_model(tiny("a"))], Measure(threads=(1, 2), batch=(8,)))
    assert [(c.threads, c.batch) for c in findings] == [(1, 1), (1, 8), (2, 1)]
    assert [c.share for c in findings] == pytest.approx([0.3, 0.4, 0.3])


def test_batches_can_be_swept_and_left_out(tiny, bench_model):
    swept = configurations([bench_model(tiny("a"))], Measure(batch=(32, 8)))
    assert [(c.batch, c.share) for c in swept] == [(1, 0.6), (8, 0.2), (32, 0.2)]
    alone = configurations([bench_model(tiny("a"))], Measure(threads=(2, 1)).model_copy(update={"batch": ()}))
    assert [(c.threads, c.batch, c.share) for c in alone] == [(2, 1, 0.5), (1, 1, 0.5)]


def test_an_odd_fixed_batch_is_timed_at_that_batch(tiny, bench_model):
    bench_models = [bench_model(tiny("a")), bench_model(tiny("b", batch=3))]
    findings = configurations(bench_models, Measure(batch=(8,)))
    assert [(c.batch, c.models) for c in findings] == [(1, (0,)), (8, (0,)), (3, (1,))]
    assert sum(c.share for c in findings) == pytest.approx(1)
    alone = configurations(bench_models[1:], Measure(batch=(8,)))
    assert [(c.batch, c.share) for c in alone] == [(3, 1.0)]


def test_other_modes_call_batch_1_after_the_usual_way(tiny, bench_model):
    config = Measure(threads=(1, 2), batch=(8,), mode=("server", "paced", "stream"), gap_ms=7, rate_per_s=50)
    findings = configurations([bench_model(tiny("a"))], config)
    assert [(c.mode, c.threads, c.batch) for c in findings] == [
        ("stream", 1, 1),
        ("stream", 1, 8),
        ("stream", 2, 1),
        ("paced", 1, 1),
        ("paced", 2, 1),
        ("server", 1, 1),
        ("server", 2, 1),
    ]
    assert sum(c.share for c in findings) == pytest.approx(1)


def test_what_is_usual_is_no_axis(tiny, bench_model):
    config = Measure(
        mode=("stream", "paced", "server"), gap_ms=7, rate_per_s=50, runtime=("onnxruntime", "torch")
    ).model_copy(update={"batch": ()})
    axes = [c.axes("cpu") for c in configurations([bench_model(tiny("a"))], config)]
    usual = {"provider": "cpu", "threads": 1, "batch": 1}
    assert axes[:3] == [usual, {**usual, "mode": "paced", "gap_ms": 7}, {**usual, "mode": "server", "rate_per_s": 50}]
    assert axes[3] == {**usual, "runtime": "torch"}
    keys = [configuration_key(c.axes("cpu")) for c in configurations([bench_model(tiny("a"))], config)]
    assert keys[:4] == ["cpu-t1-b1", "cpu-t1-b1-paced7ms", "cpu-t1-b1-server50", "cpu-t1-b1-torch"]
    assert len(set(keys)) == len(keys)
