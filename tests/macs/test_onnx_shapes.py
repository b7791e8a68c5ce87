"""What is known of the shapes behind operators that onnx's own inference does not know, or not well."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.macs.onnx_counter import count_onnx

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
MS = "com.microsoft"


def weight(name, *shape, dtype=np.float32):
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def count(folder, nodes, stored, kind=FLOAT):
    """Count a model of `x` (n, 6, 8) and `y`, whose type is declared, as exporters do."""
    x = helper.make_tensor_value_info("x", kind, ["n", 6, 8])
    graph = helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("y", kind, None)], stored)
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", 17), (MS, 1), ("ai.onnx", 17))]
    onnx.save(helper.make_model(graph, opset_imports=opsets), folder / "model.onnx")
    return count_onnx(folder / "model.onnx")


@pytest.mark.parametrize(
    ("nodes", "stored", "kind", "macs"),
    [
        (
            # What follows adds to the sum that was normalised, not to its norm.
            [
                helper.make_node("SkipLayerNormalization", ["x", "x", "g", "g"], ["h", "", "", "s"], domain=MS),
                helper.make_node("MatMul", ["s", "w"], ["y"]),
            ],
            [weight("g", 8), weight("w", 8, 5)],
            FLOAT,
            6 * 8 * 5,
        ),
        (
            [
                helper.make_node("MultiHeadAttention", ["x", "x", "x"], ["h"], domain=MS, num_heads=2),
                helper.make_node("MatMul", ["h", "w"], ["y"]),
            ],
            [weight("w", 8, 5, dtype=np.float16)],
            HALF,
            2 * 6 * 6 * 8 + 6 * 8 * 5,
        ),
        (
            [
                helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], domain=MS),
                helper.make_node("MatMul", ["w", "x"], ["y"]),
            ],
            [weight("q", 4, 6, dtype=np.int16), weight("scale"), weight("zero", dtype=np.int16)],
            FLOAT,
            4 * 6 * 8,
        ),
        (
            [helper.make_node("MatMul", ["x", "w"], ["h"], domain="ai.onnx"), helper.make_node("Relu", ["h"], ["y"])],
            [weight("w", 8, 5)],
            FLOAT,
            6 * 8 * 5,
        ),
    ],
    ids=["sum beside the norm", "half precision", "onnxruntime's dequantizing", "the long name of the domain"],
)
def test_shapes_are_known_behind_onnxruntimes_operators(tmp_path, nodes, stored, kind, macs):
    report = count(tmp_path, nodes, stored, kind)
    assert (report.macs, report.uncounted) == (macs, ())


def test_what_a_shape_would_fill_is_not_filled(tmp_path):
    nodes = [
        helper.make_node("ConstantOfShape", ["large"], ["zeros"]),
        helper.make_node("Add", ["x", "zeros"], ["s"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    stored = [numpy_helper.from_array(np.array([1_000_000, 1_000_000]), "large"), weight("w", 8, 5)]
    assert count(tmp_path, nodes, stored).macs == 6 * 8 * 5


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("opset", [18, 22])
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]},
        {"kernel_shape": [1, 1], "strides": [2, 2], "auto_pad": "VALID"},
        {"kernel_shape": [3, 3], "strides": [2, 2]},
    ],
    ids=["padded", "uneven", "subsampling", "one window more"],
)
def test_pools_that_round_up_have_as_many_windows_as_at_run_time(tmp_path, operator, opset, attributes):
    """Two pools and a convolution, whose count is that of the output which onnxruntime computes."""
    nodes = [
        helper.make_node(operator, ["x"], ["p"], ceil_mode=1, **attributes),
        helper.make_node(operator, ["p"], ["q"], ceil_mode=1, **attributes),
        helper.make_node("Conv", ["q", "w"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in (("x", ["n", 2, 15, 18]), ("y", None)))
    graph = helper.make_graph(nodes, "g", [x], [y], [weight("w", 3, 2, 1, 1)])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"x": np.zeros((1, 2, 15, 18), np.float32)})
    assert count_onnx(path).macs == output.size * 2


@pytest.mark.parametrize("rows", [8, 2000])
def test_the_shape_of_a_sparse_tensor_is_known(tmp_path, rows):
    """A runtime multiplies with the dense matrix."""
    values = numpy_helper.from_array(np.ones(3, np.float32), "w")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0, 7, 9])), [rows, 5])
    nodes = [helper.make_node("Identity", ["w"], ["v"]), helper.make_node("MatMul", ["x", "v"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, FLOAT, ["n", size]) for name, size in (("x", rows), ("y", 5)))
    graph = helper.make_graph(nodes, "g", [x], [y], sparse_initializer=[sparse])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "model.onnx")
    report = count_onnx(tmp_path / "model.onnx")
    assert (report.macs, report.uncounted) == (rows * 5, ())
