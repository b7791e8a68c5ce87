"""Weights of known smallness in, their number out."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.measure.passes import denormals
from kdbench.measure.passes.denormals import DenormalsPass, denormal_count

# Both signs, zeros, the least normal number and the largest denormal one: 4 of each 8 are denormal.
LEAST = np.finfo(np.float32).smallest_normal
EDGES = np.array(
    [
        0.0,
        -0.0,
        LEAST,
        -LEAST,
        np.nextafter(LEAST, np.float32(0)),
        np.finfo(np.float32).smallest_subnormal,
        -1e-40,
        1e-42,
    ],
    np.float32,
)


def model(path, *tensors, constant=None, **save):
    """Write a model that holds `tensors` and, in a node, `constant`."""
    stored = [
        it if isinstance(it, TensorProto) else numpy_helper.from_array(it, f"w{n}") for n, it in enumerate(tensors)
    ]
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    if constant is not None:
        nodes.append(helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(constant, "c")))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2, 3, 4]) for name in "xy")
    proto = helper.make_model(helper.make_graph(nodes, "g", [x], [y], stored))
    onnx.save(proto, path, **save)
    return path


@pytest.mark.parametrize(
    ("tensor", "count"),
    [
        (EDGES, 4),
        (np.tile(EDGES, (6, 5)), 120),
        (np.array([0.0, 2.3e-308, 2.2e-308, -5e-324]), 2),
        (np.array([0.0, 1.2e-38, 1e-40, 1.0], ml_dtypes.bfloat16), 1),
        (np.array([1e-7, 1e-5], np.float16), 0),  # normal once it is float32
        (np.array([1, 2, 3], np.int32), 0),  # as bits of a float these would be denormal
        (np.empty((0, 3), np.float32), 0),
        (helper.make_tensor("w", TensorProto.FLOAT, [3], [1e-40, 1.0, -1e-41]), 2),  # not raw bytes
    ],
)
def test_denormals_are_counted_in_every_format_that_cpus_compute_in(tmp_path, tensor, count):
    assert denormal_count(model(tmp_path / "m.onnx", tensor)) == count


def test_the_count_is_numpys(tmp_path):
    drawn = np.exp(np.random.default_rng(0).uniform(-105, -70, 5000)).astype(np.float32)
    tiny = int(((drawn != 0) & (np.abs(drawn) < LEAST)).sum())
    assert 1000 < tiny < 4000
    assert denormal_count(model(tmp_path / "m.onnx", drawn)) == tiny


def test_constants_of_nodes_count(tmp_path):
    assert denormal_count(model(tmp_path / "m.onnx", EDGES, constant=EDGES)) == 8


def test_weights_beside_the_model_are_looked_at_where_they_lie(tmp_path):
    path = model(
        tmp_path / "m.onnx",
        np.ones(7, np.float32),
        np.tile(EDGES, 40),
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    assert denormal_count(path) == 160


def test_chunks_leave_nothing_out(tmp_path, monkeypatch):
    monkeypatch.setattr(denormals, "_CHUNK", 3)
    assert denormal_count(model(tmp_path / "m.onnx", np.tile(EDGES, 4))) == 16


def weights_with(denormal, of=1_000_000):
    weights = np.ones(of, np.float32)
    weights[:denormal] = 1e-40
    return weights


@pytest.mark.parametrize(("denormal", "codes"), [(0, []), (10, []), (11, ["denormal_weights"])])
def test_a_share_that_costs_time_is_warned_of(tmp_path, bench_model, run_pass, denormal, codes):
    findings = run_pass(DenormalsPass(), [bench_model(model(tmp_path / "m.onnx", weights_with(denormal)))])
    assert [w.code for w in findings.warnings] == codes
    assert findings.protocol == {"denormal_weights": {"m": denormal}}
    for warning in findings.warnings:
        assert warning.model == "m"
        assert warning.message.startswith("11 weights (0.0011 %)")
        assert "session.set_denormal_as_zero=1" in warning.remedy


def test_without_models_there_is_no_fact(run_pass):
    assert run_pass(DenormalsPass(), []).protocol == {}
