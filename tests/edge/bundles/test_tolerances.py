"""How far outputs may be apart, by the arithmetic of the file: computed here by hand."""

import numpy as np
import onnx
import pytest
from model_files import _build
from onnx import TensorProto, helper, numpy_helper

from kdbench.edge.bundles.tolerances import tolerance_of
from kdbench.edge.exchange.parity import parity
from kdbench.edge.exchange.plan import ANY_DEVIATION, Tolerance
from kdbench.worker.jobs import JobModel

OUTPUTS = np.array([[10.0, -4.0], [2.0, 20.0]], np.float32)


@pytest.fixture
def job(tmp_path):
    def make(path, **changes):
        images = tmp_path / "images.npy"
        np.save(images, np.zeros((2, 1, 1, 4), np.uint8))
        values = {"dtype": "float32", "layout": "flat", "shape": (4,), "fixed_batch": None, "images": str(images)}
        return JobModel("m", str(path), "x", "y", **{**values, **changes})

    return make


def quantized(path, *, output_scale=None):
    """Write a layer of 4 inputs and 2 outputs, quantized weights and inputs; its output if a scale is given."""
    weights = np.array([[1, 0], [2, 0], [2, 0], [0, 1]], np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xf"]),
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wf"]),
        helper.make_node("MatMul", ["xf", "wf"], ["f"]),
    ]
    stored = {"xs": np.float32(0.5), "xz": np.uint8(0), "wq": weights, "ws": np.float32(0.1), "wz": np.int8(0)}
    last = "f"
    if output_scale is not None:
        stored |= {"ys": np.float32(output_scale), "yz": np.uint8(0)}
        nodes.append(helper.make_node("QuantizeLinear", ["f", "ys", "yz"], ["yq"]))
        nodes.append(helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["d"]))
        last = "d"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("x", 4), ("y", 2))]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "q", values[:1], values[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_integers_are_tolerated_in_steps_of_the_output(tmp_path, job):
    tolerance = tolerance_of(quantized(tmp_path / "q.onnx", output_scale=0.25), job("q.onnx"), OUTPUTS)
    assert (tolerance.kind, tolerance.step, tolerance.max_abs) == ("int8", 0.25, 1.0)


def test_where_the_output_is_float_a_step_is_that_of_the_last_layers_inputs(tmp_path, job):
    tolerance = tolerance_of(quantized(tmp_path / "q.onnx"), job("q.onnx"), OUTPUTS)
    assert tolerance.step == pytest.approx(0.5 * 0.1 * (1 + 4 + 4) ** 0.5)  # scale x norm of the heavier column


def test_weights_with_a_scale_for_each_block_are_tolerated_by_the_range_of_the_outputs(tmp_path, job):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xf"]),
        helper.make_node("DequantizeLinear", ["wq", "ws"], ["wf"], axis=0, block_size=2),
        helper.make_node("MatMul", ["xf", "wf"], ["y"]),
    ]
    stored = {"xs": np.float32(0.5), "xz": np.uint8(0), "wq": np.ones((4, 2), np.int8), "ws": np.ones((2, 2), "f4")}
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("x", 4), ("y", 2))]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "q", values[:1], values[1:], tensors)
    path = tmp_path / "blocks.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    assert tolerance_of(path, job(path), OUTPUTS).step == pytest.approx((20 - -4) / 255)


def test_floats_are_tolerated_relative_to_the_largest_output(tmp_path, job):
    path = _build(tmp_path / "f.onnx", shape=(4,), classes=2)
    tolerance = tolerance_of(path, job("nothing.onnx"), OUTPUTS)
    assert (tolerance.kind, tolerance.step) == ("float32", None)
    assert tolerance.max_abs == pytest.approx(1e-5 * 20)


@pytest.mark.parametrize(("off", "failed"), [(0.9, False), (1.1, True), (np.nan, True)])
def test_outputs_within_the_tolerance_pass(off, failed):
    outputs = OUTPUTS.copy()
    outputs[0, 0] += off
    checked = parity(outputs, OUTPUTS, Tolerance("int8", 1.0, "four steps", 0.25))
    assert bool(checked.failed) == failed
    assert checked.changed == 0


def test_answers_that_changed_are_counted():
    checked = parity(OUTPUTS[:, ::-1], OUTPUTS, Tolerance("float32", 100.0, ""))
    assert (checked.changed, checked.samples, checked.failed) == (2, 2, "")
    assert parity(OUTPUTS[:1], OUTPUTS, Tolerance("float32", 100.0, "")).failed
    assert parity(OUTPUTS[:, :1], OUTPUTS, Tolerance("float32", 100.0, "")).failed


def test_class_numbers_of_which_the_largest_occurs_only_on_one_side_are_changed_answers():
    expected, outputs = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[0, 1, 1], :2]
    tolerance = Tolerance("float32", ANY_DEVIATION, "")
    for compared in (parity(outputs, expected, tolerance), parity(expected, outputs, tolerance)):
        assert (compared.changed, compared.samples, compared.failed) == (1, 3, "")
