"""The torch module that is converted computes what onnxruntime does, operator by operator."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from small_graphs import model_of, run

from kdbench.export.onnx_to_litert import Graph, UnknownOperatorError

RNG = np.random.default_rng(0)
IMAGE = {"x": [1, 3, 7, 8]}


def weights(*shape):
    return RNG.standard_normal(shape, np.float32)


def integers(*values):
    return np.array(values, np.int64)


def conv(**attributes):
    return [("Conv", ["x", "w", "b"], ["y"], attributes)], {"w": weights(6, 3, 3, 3), "b": weights(6)}, IMAGE


def one(operator, **attributes):
    return [(operator, ["x"], ["y"], attributes)], {}, IMAGE


def shaped(operator, stored, inputs=IMAGE, **attributes):
    return [(operator, ["x", *stored], ["y"], attributes)], stored, inputs


OPTION_A = [  # of a ResNet for CIFAR: every second pixel, and empty channels
    ("Slice", ["x", "s", "e", "a", "t"], ["h"], {}),
    ("Pad", ["h", "p"], ["y"], {}),
]
SHAPES = [  # as exporters flatten: a shape that is computed
    ("Shape", ["x"], ["shape"], {}),
    ("Gather", ["shape", "first"], ["n"], {}),
    ("Concat", ["n", "rest"], ["target"], {"axis": 0}),
    ("Reshape", ["x", "target"], ["y"], {}),
]
GRAPHS = {
    "conv": conv(pads=[1, 2, 0, 1], strides=[2, 1]),
    "dilated": conv(dilations=[2, 2]),
    "same upper": conv(auto_pad="SAME_UPPER", strides=[2, 2]),
    "same lower": conv(auto_pad="SAME_LOWER", strides=[2, 2]),
    "depthwise": ([("Conv", ["x", "w"], ["y"], {"group": 3})], {"w": weights(3, 1, 3, 3)}, IMAGE),
    "one axis": ([("Conv", ["x", "w"], ["y"], {"pads": [1, 0]})], {"w": weights(4, 3, 3)}, {"x": [1, 3, 9]}),
    "max pool": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average pool": one("AveragePool", kernel_shape=[2, 2], strides=[2, 2]),
    "padded average": one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "global": one("GlobalAveragePool"),
    "mean": one("ReduceMean", axes=[2, 3], keepdims=0),
    "elu": one("Elu", alpha=0.7),
    "leaky": one("LeakyRelu", alpha=0.2),
    "hard sigmoid": one("HardSigmoid", alpha=0.3),
    "hard swish": one("HardSwish"),
    "softmax": one("Softmax", axis=1),
    "transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "flatten": one("Flatten"),
    "clip": shaped("Clip", {"low": np.float32(-0.5), "high": np.float32(1.0)}),
    "normalization": shaped("BatchNormalization", {name: np.abs(weights(3)) for name in "sbmv"}, epsilon=0.1),
    "gemm": shaped("Gemm", {"w": weights(5, 8), "b": weights(5)}, {"x": [1, 8]}, transB=1, alpha=0.5, beta=2.0),
    "product": shaped("MatMul", {"w": weights(8, 5)}, {"x": [1, 8]}),
    "unsqueeze": shaped("Unsqueeze", {"axes": integers(1, 3)}, {"x": [1, 8]}),
    "squeeze": shaped("Squeeze", {"axes": integers(1)}, {"x": [1, 1, 8]}),
    "reshape": shaped("Reshape", {"s": integers(0, -1)}),
    "option A": (
        OPTION_A,
        {"s": integers(0, 0), "e": integers(2**62, 7), "a": integers(2, 3), "t": integers(2, 2),
         "p": integers(0, 1, 0, 0, 0, 2, 0, 0)},
        IMAGE,
    ),
    "shapes": (SHAPES, {"first": integers(0), "rest": integers(-1)}, IMAGE),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_the_module_computes_what_onnxruntime_does(name):
    nodes, stored, inputs = GRAPHS[name]
    model = model_of(nodes, stored, inputs)
    x = weights(*inputs["x"])
    ours = Graph(model, "y").eval()(torch.from_numpy(x)).numpy()
    assert ours == pytest.approx(run(model, x=x), abs=1e-5)


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (one("Det"), "Det"),
        (one("MaxPool", kernel_shape=[2, 2], ceil_mode=1), "ceil_mode"),
        (one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), "padding"),
        (shaped("Pad", {"p": integers(0, 0, 1, 1, 0, 0, 1, 1)}, mode="reflect"), "Pad"),
    ],
)
def test_what_is_not_translated_is_refused(graph, says):
    with pytest.raises(UnknownOperatorError, match=says):
        Graph(model_of(*graph), "y")(torch.zeros(1, 3, 7, 8))


def test_a_constant_is_a_weight():
    value = helper.make_tensor("c", TensorProto.FLOAT, [1], [2.0])
    nodes = [("Constant", [], ["c"], {"value": value}), ("Mul", ["x", "c"], ["y"], {})]
    assert Graph(model_of(nodes, {}, {"x": [1, 2]}), "y")(torch.ones(1, 2)).tolist() == [[2.0, 2.0]]
