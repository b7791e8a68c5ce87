"""The sweep with the runtime itself, in this process; only the clock is not, so that no call is faster than another."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.measure.staging import stage
from kdbench.worker.channel import Channel
from kdbench.worker.jobs import OfflineJob
from kdbench.worker.probes import offline
from kdbench.worker.timing import WarmUp

GB = 1 << 30


def called_once(calls, _cap_ns):
    calls.run(*calls.arguments[0])
    return WarmUp(calls, 1, 1000.0)


@pytest.fixture
def sweeps(tmp_path, monkeypatch):
    """Sweep models with so much memory and time left."""
    monkeypatch.setattr(offline, "warm_up", called_once)

    def run(*bench_models, available_bytes=GB, budget_ns=3e8):
        monkeypatch.setattr(offline, "available_bytes", lambda: available_bytes)
        models = stage(bench_models, None, tmp_path, 0)
        jobs = tuple(models[s.id] for s in bench_models)
        job = OfflineJob(models=jobs, provider="cpu", threads=1, budget_ns=budget_ns, repeats=1, least_ns=3e7)
        return offline.run(job, Channel())["sweeps"]

    return run


def batches(sweep):
    return [step["batch"] for step in sweep["steps"]]


def test_what_one_model_leaves_of_the_time_is_for_the_next(tiny, bench_model, sweeps):
    one = sweeps(bench_model(tiny("a"), data=False))["a"]
    assert (batches(one), one["ended"]) == ([2**power for power in range(10)], "budget")
    both = sweeps(bench_model(tiny("fixed", batch=4), data=False), bench_model(tiny("a"), data=False))
    assert (batches(both["fixed"]), both["fixed"]["ended"]) == ([4], "fixed")
    assert batches(both["a"]) == [2**power for power in range(9)]


def test_without_memory_left_there_is_no_second_batch(tiny, bench_model, sweeps):
    outcome = sweeps(bench_model(tiny(), data=False), available_bytes=0)["tiny"]
    assert (batches(outcome), outcome["ended"], outcome["next_batch"]) == ([1], "memory", 2)


def test_inputs_of_the_next_batch_count(tiny, bench_model, sweeps, monkeypatch):
    monkeypatch.setattr(offline, "resident_bytes", lambda: 5)
    sample = 24 * 4  # bytes
    outcome = sweeps(bench_model(tiny(), data=False), available_bytes=2 * 8 * sample)["tiny"]
    assert (batches(outcome), outcome["ended"], outcome["next_batch"]) == ([1, 2, 4, 8], "memory", 16)


def test_a_batch_that_the_runtime_refuses_ends_it_with_the_reason(tmp_path, bench_model, sweeps):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", 3])
    shape = numpy_helper.from_array(np.array([4, 3], np.int64), "shape")
    nodes = [helper.make_node("Expand", ["x", "shape"], ["y"])]  # one row becomes four; two cannot
    graph = helper.make_graph(nodes, "four", [value], [result], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "four.onnx")
    four = bench_model(tmp_path / "four.onnx", data=False, classes=3, input_shape=(3,), parameters=0)
    outcome = sweeps(four)["four"]
    assert (batches(outcome), outcome["ended"], outcome["next_batch"]) == ([1], "fault", 2)
    assert "Expand" in outcome["fault"]


def test_a_model_that_does_not_load_has_no_batch(tiny, bench_model, sweeps):
    outcome = sweeps(bench_model(tiny(op="Unheard"), data=False), bench_model(tiny("b"), data=False))
    assert (outcome["tiny"]["steps"], outcome["tiny"]["ended"]) == ([], "fault")
    assert "Unheard" in outcome["tiny"]["fault"]
    assert batches(outcome["b"])[:2] == [1, 2]
