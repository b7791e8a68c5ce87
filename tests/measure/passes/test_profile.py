"""Events become times of nodes; nodes become layers; and what cannot be profiled is told."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.macs.onnx_counter import count_onnx
from kdbench.macs.onnx_origin import origins, untraced
from kdbench.measure.passes.profile import ProfilePass, overhead_warnings
from kdbench.worker.probes.profile import summarise


def trace(*calls):
    """Return the events of calls, each a list of (name, operator, start, duration) in µs from its beginning."""
    events, now = [], 0
    for nodes in calls:
        length = max(start + duration for *_, start, duration in nodes)
        events += [
            {"name": f"{name}_kernel_time", "ts": now + start, "dur": duration, "args": {"op_name": operator}}
            for name, operator, start, duration in nodes
        ]
        events.append({"name": "model_run", "ts": now, "dur": length, "args": {}})
        now += length + 10
    return events


def test_a_nodes_time_is_the_mean_of_its_middle_calls_after_warm_up():
    calls = [[("a", "Conv", 0, us), ("b", "Relu", us + 1, 2)] for us in (900, 10, 12, 14, 400)]
    findings = summarise(trace(*calls), warm_ups=1)
    assert findings == {
        "nodes": [
            {"name": "a", "operator": "Conv", "time_ns": 13_000.0},
            {"name": "b", "operator": "Relu", "time_ns": 2000.0},
        ],
        "calls": 4,
    }


def test_what_a_loop_holds_is_in_its_time_already():
    call = [("loop", "Loop", 0, 50), ("inner", "MatMul", 0, 20), ("inner", "MatMul", 25, 20), ("after", "Relu", 50, 3)]
    findings = summarise(trace(call), warm_ups=0)
    assert [(node["name"], node["time_ns"]) for node in findings["nodes"]] == [("loop", 50_000.0), ("after", 3000.0)]


def test_what_a_loop_holds_in_its_last_tick_is_no_node_of_its_own():
    usual = [("loop", "Loop", 0, 50), ("inner", "MatMul", 40, 9)]
    at_the_end = [("loop", "Loop", 0, 50), ("inner", "MatMul", 50, 0)]
    for calls in ([usual, at_the_end], [at_the_end, usual]):
        assert [node["name"] for node in summarise(trace(*calls), warm_ups=0)["nodes"]] == ["loop"]


def test_nodes_of_one_name_are_one():
    findings = summarise(trace([("same", "Conv", 0, 5), ("same", "Conv", 5, 6)]), warm_ups=0)
    assert findings["nodes"] == [{"name": "same", "operator": "Conv", "time_ns": 11_000.0}]


@pytest.fixture
def residual(tmp_path):
    """Two convolutions of 8 and 20 channels (not whole blocks), batch norm before one, a sum, and a linear layer."""
    rng = np.random.default_rng(0)
    shapes = {"k": (20, 3, 3, 3), "p": (20, 20, 3, 3), "w": (10, 20), **dict.fromkeys(("s", "o", "m", "v"), (20,))}
    stored = [numpy_helper.from_array(rng.random(shape, np.float32), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], "stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("BatchNormalization", ["b", "s", "o", "m", "v"], ["n"], "norm"),
        helper.make_node("Conv", ["n", "p"], ["c"], "inner", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "c"], ["d"], "sum"),
        helper.make_node("Relu", ["d"], ["e"], "relu2"),
        helper.make_node("GlobalAveragePool", ["e"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w"], ["y"], "head", transB=1),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    graph = helper.make_graph(nodes, "g", [value], [helper.make_empty_tensor_value_info("y")], stored)
    path = tmp_path / "residual.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("level", ["DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL"])
def test_every_layer_is_recovered_at_every_level_of_optimisation(level, residual, tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4  # it warns that the layout is this machine's
    onnxruntime.InferenceSession(residual, options, providers=["CPUExecutionProvider"])
    findings = origins(residual, tmp_path / "optimised.onnx", (3, 8, 8))
    macs = {origin.layer: origin.macs for origin in findings.values() if origin.macs}
    assert macs == {layer: count for layer, _, count in count_onnx(residual).by_layer}
    assert all(origin.macs is not None for origin in findings.values())


def test_a_node_that_cannot_be_traced_says_so(residual, tmp_path):
    model = onnx.load(residual)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{name}_other" if name in {"c", "d"} else name for name in names]
        node.name = f"{node.name}_other" if node.name in {"inner", "sum"} else node.name
    onnx.save(model, tmp_path / "renamed.onnx")
    findings = origins(residual, tmp_path / "renamed.onnx", (3, 8, 8))
    assert (findings["inner_other"].macs, findings["sum_other"].macs) == (None, 0)
    assert findings["inner_other"].reason == "Conv could not be traced to a layer of the file"
    assert untraced("HardSigmoid_180", "HardSigmoid").macs == 0


@pytest.fixture
def profiled(tiny, bench_model, run_pass):
    def profile(*, provider="cpu", enabled=True, op="Gemm"):
        one = bench_model(tiny("one"), data=False)
        other = bench_model(tiny("other", op=op), data=False)
        return run_pass(ProfilePass(), [one, other], provider=provider, profile=enabled)

    return profile


def test_layers_of_every_model_in_fresh_processes(profiled, monkeypatch):
    findings = profiled()
    assert all(8 <= findings.protocol["profiled_calls"][model] <= 100 for model in ("one", "other"))
    for model in ("one", "other"):
        layers = [layer for layer in findings.layers if layer.model == model]
        assert [layer.macs for layer in layers if layer.operator == "Gemm"] == [24 * 6]
        assert sum(layer.time_share for layer in layers) == pytest.approx(1)
        assert all(layer.axes == {"provider": "cpu", "threads": 1, "batch": 1} for layer in layers)
    # Whether being timed shows depends on the machine; there is nothing else to warn of.
    assert {warning.code for warning in findings.warnings} <= {"profile_overhead"}


@pytest.mark.parametrize(("call_ns", "expected"), [(80_000, False), (79_000, True)])
def test_nodes_that_take_longer_than_the_call_they_are_part_of(call_ns, expected):
    result = {"nodes": [{"time_ns": 60_000.0}, {"time_ns": 40_000.0}], "call_ns": call_ns}
    warnings = overhead_warnings("one", result)
    assert [warning.code for warning in warnings] == ["profile_overhead"] * expected
    assert all("100 µs" in warning.message and "79.0 µs" in warning.message for warning in warnings)


def test_a_model_that_cannot_run_has_a_warning_and_the_others_go_on(profiled):
    findings = profiled(op="Nonsense")
    assert {layer.model for layer in findings.layers} == {"one"}
    (warning,) = [warning for warning in findings.warnings if warning.code == "no_profile"]
    assert warning.model == "other"
    assert "Nonsense" in warning.message


def test_nothing_is_profiled_unasked_nor_where_the_profile_is_of_the_wrong_thing(profiled):
    assert profiled(enabled=False).layers == ()
    on_a_gpu = profiled(provider="cuda")
    assert on_a_gpu.layers == ()
    assert [warning.code for warning in on_a_gpu.warnings] == ["no_profile"]
