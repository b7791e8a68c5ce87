"""Stored tensors that are no parameters: what exporters fill, masks, and what calls of local functions hold."""

import numpy as np
import onnx
import onnxruntime
import pytest
from modelfile.graph_parts import graph_of, value
from onnx import TensorProto, helper, numpy_helper

from kdbench.modelfile.facts import inspect

RNG = np.random.default_rng(0)
HIDDEN, STEPS, FEATURES = 5, 4, 3


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def constant(name, array):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))


def inspected(path, nodes, stored, x, y, **saved):
    """Return the facts of a model that onnxruntime runs."""
    tensors = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    onnx.save(graph_of([x], [y], nodes, tensors), path, **saved)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    shape = [size if isinstance(size, int) else 2 for size in session.get_inputs()[0].shape]
    session.run(None, {"x": np.ones(shape, np.float32)})
    return inspect(path)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize(("operator", "gates", "states"), [("LSTM", 4, 2), ("GRU", 3, 1), ("RNN", 1, 1)])
def test_zeros_before_the_first_step_are_no_parameters(tmp_path, operator, gates, states, external):
    """As torch writes them for a fixed batch; a state that was learned is not zero."""
    stored = {"w": numbers(1, gates * HIDDEN, FEATURES), "r": numbers(1, gates * HIDDEN, HIDDEN)}
    stored |= {"zeros": np.zeros((1, 2, HIDDEN), np.float32)}
    before = ["", "", *["state"] * states]
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("Identity", ["zeros"], ["state"]),
        helper.make_node(operator, ["steps", "w", "r", *before], ["all"], hidden_size=HIDDEN),
        helper.make_node("Transpose", ["all"], ["y"], perm=[2, 0, 1, 3]),
    ]
    x, y = value("x", [2, STEPS, FEATURES]), value("y", [2, STEPS, 1, HIDDEN])
    saved = {"save_as_external_data": True, "location": "m.data", "size_threshold": 0} if external else {}
    weights = stored["w"].size + stored["r"].size
    assert inspected(tmp_path / "m.onnx", nodes, stored, x, y, **saved).parameters == weights
    learned = stored | {"zeros": numbers(1, 2, HIDDEN)}
    assert inspected(tmp_path / "n.onnx", nodes, learned, x, y).parameters == weights + learned["zeros"].size


def test_ones_and_zeros_of_norms_without_weights_are_no_parameters(tmp_path):
    """As torch writes InstanceNorm2d(affine=False) and GroupNorm; those of a network that was not trained count."""
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    nodes = [
        *(constant("ones", ones), constant("zeros", zeros), constant("half", np.full(1, 0.5, np.float32))),
        helper.make_node("InstanceNormalization", ["x", "ones", "zeros"], ["normal"]),
        helper.make_node("InstanceNormalization", ["normal", "gamma", "beta"], ["scaled"]),
        helper.make_node("Mul", ["scaled", "half"], ["y"]),
    ]
    x, y = (value(name, ["n", 4, 6, 6]) for name in ("x", "y"))
    facts = inspected(tmp_path / "m.onnx", nodes, {"gamma": ones, "beta": zeros}, x, y)
    assert (facts.parameters, facts.weight_bytes) == (4 + 4, 4 * (4 * 4 + 1))


@pytest.mark.parametrize("lowest", [-np.inf, -100.0, np.finfo(np.float32).min])
def test_masks_are_no_parameters(tmp_path, lowest):
    """A causal mask, whose other numbers are 0; a table of learned biases is one."""
    mask = np.triu(np.full((6, 6), lowest, np.float32), 1)
    nodes = [helper.make_node("Add", ["x", "mask"], ["h"]), helper.make_node("Add", ["bias", "h"], ["y"])]
    x, y = (value(name, ["n", 6, 6]) for name in ("x", "y"))
    bias = numbers(6, 6)
    assert inspected(tmp_path / "m.onnx", nodes, {"mask": mask, "bias": bias}, x, y).parameters == bias.size


def test_scales_of_a_resizing_before_opset_10_are_no_parameters(tmp_path):
    nodes = [helper.make_node("Upsample", ["x", "scales"], ["h"]), helper.make_node("Mul", ["h", "w"], ["y"])]
    stored = {"scales": np.array([1, 1, 2, 2], np.float32), "w": numbers(3, 1, 8)}
    tensors = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    model = graph_of([value("x", ["n", 3, 4, 4])], [value("y", ["n", 3, 8, 8])], nodes, tensors)
    model.opset_import[0].version = 9
    onnx.save(model, tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").parameters == stored["w"].size


def test_weights_that_calls_of_a_function_hold_are_parameters(tmp_path):
    """One function that multiplies with its attribute: each call, and the default, has weights of its own."""
    node = helper.make_node("Constant", [], ["w"])
    node.attribute.add(name="value", ref_attr_name="weights", type=onnx.AttributeProto.TENSOR)
    body = [node, helper.make_node("MatMul", ["a", "w"], ["b"])]
    first, second = (numpy_helper.from_array(numbers(6, 6)) for _ in range(2))
    default = helper.make_attribute("weights", numpy_helper.from_array(numbers(6, 6)))
    opsets = [helper.make_opsetid("", 17)]
    linear = helper.make_function("local", "Linear", ["a"], ["b"], body, opsets, attributes=["weights"])
    usual = helper.make_function("local", "Usual", ["a"], ["b"], body, opsets, attribute_protos=[default])
    nodes = [
        helper.make_node("Linear", ["x"], ["h"], domain="local", weights=first),
        helper.make_node("Linear", ["h"], ["g"], domain="local", weights=second),
        helper.make_node("Usual", ["g"], ["y"], domain="local"),
    ]
    model = graph_of([value("x", ["n", 6])], [value("y", ["n", 6])], nodes)
    model.functions.extend([linear, usual])
    model.opset_import.append(helper.make_opsetid("local", 1))
    onnx.save(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    arrays = [numpy_helper.to_array(tensor) for tensor in (first, second, default.t)]
    x = numbers(1, 6)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ arrays[0] @ arrays[1] @ arrays[2], rtol=1e-4)
    facts = inspect(tmp_path / "m.onnx")
    assert (facts.parameters, facts.weight_bytes) == (3 * 36, 3 * 144)


def test_numbers_that_calls_of_a_function_hold_are_no_parameters(tmp_path):
    node = helper.make_node("Constant", [], ["slope"])
    node.attribute.add(name="value_float", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    body = [node, helper.make_node("Mul", ["a", "slope"], ["b"])]
    function = helper.make_function(
        "local", "Scale", ["a"], ["b"], body, [helper.make_opsetid("", 17)], attributes=["slope"]
    )
    model = graph_of(
        [value("x", ["n", 6], TensorProto.FLOAT)],
        [value("y", ["n", 6])],
        [helper.make_node("Scale", ["x"], ["y"], domain="local", slope=2.0)],
    )
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    onnx.save(model, tmp_path / "m.onnx")
    onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert inspect(tmp_path / "m.onnx").parameters == 0
