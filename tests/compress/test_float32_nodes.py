"""Operators without a float16 form: the float16 file loads, answers alike, and computes them in float32."""

import numpy as np
import onnx
import pytest
from small_graphs import model_of, session_of

from kdbench.compress.float32_nodes import float32_nodes
from kdbench.compress.methods.fp16 import to_float16

RNG = np.random.default_rng(4)
X = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
SCALE = {"s": np.ones(6, np.float32)}
PLACES = {"i": np.zeros((2, 1), np.int64), "u": np.ones((2, 4, 6, 6), np.float32)}

# The nodes, the weights, and the names of the nodes that stay in float32.
CASES = {
    "no kernel": ([("MeanVarianceNormalization", ["x"], ["y"], {"axes": [2, 3]})], {}, ["MeanVarianceNormalization_0"]),
    "statistics": (
        [("LayerNormalization", ["x", "s"], ["h", "mean"], {}), ("Add", ["h", "mean"], ["y"], {})],
        SCALE,
        ["LayerNormalization_0"],
    ),
    "no statistics": ([("LayerNormalization", ["x", "s"], ["y"], {})], SCALE, []),
    "sums in place": ([("ScatterND", ["x", "i", "u"], ["y"], {"reduction": "add"})], PLACES, ["ScatterND_0"]),
    "values in place": ([("ScatterND", ["x", "i", "u"], ["y"], {})], PLACES, []),
    "by schema": ([("Celu", ["x"], ["y"], {})], {}, ["Celu_0"]),
    "scales": ([("Resize", ["x", "", "scales"], ["y"], {})], {"scales": np.array([1, 1, 2, 2], np.float32)}, []),
    # The converter keeps Min and Max in float32, and casts what both read, and what one reads twice, for each use.
    "read by two": (
        [
            ("Relu", ["x"], ["r"], {}),
            ("Max", ["r", "r"], ["m"], {}),
            ("Min", ["r", "m"], ["n"], {}),
            ("Add", ["m", "n"], ["y"], {}),
        ],
        {},
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_has_no_float16_form_stays_in_float32(name):
    nodes, weights, kept = CASES[name]
    model = model_of(nodes, weights, {"x": ["n", 4, 6, 6]})
    assert float32_nodes(model) == kept
    half = to_float16(model)
    expected, answers = (session_of(form).run(None, {"x": X})[0] for form in (model, half))
    np.testing.assert_allclose(answers, expected, rtol=4e-3, atol=4e-3)
    assert any(node.op_type == "Cast" for node in half.graph.node)
    outputs = [output for node in half.graph.node for output in node.output]
    assert len(outputs) == len(set(outputs))


@pytest.mark.parametrize(
    ("operator", "outputs", "kept"),
    [
        ("SkipLayerNormalization", ["y", "", "", "sum"], False),
        ("SkipLayerNormalization", ["y", "mean"], True),
        ("CDist", ["y"], True),
        ("Gelu", ["y"], False),
    ],
)
def test_operators_of_onnxruntime(operator, outputs, kept):
    node = onnx.helper.make_node(operator, ["x", "z"], outputs, name="n", domain="com.microsoft")
    graph = onnx.helper.make_graph([node], "g", [], [])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("com.microsoft", 1)])
    assert float32_nodes(model) == (["n"] if kept else [])
