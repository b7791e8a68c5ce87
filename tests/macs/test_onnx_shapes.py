"""What is known of the shapes behind operators that onnx's own inference does not know, or not well."""

import numpy as np
import onnx
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
