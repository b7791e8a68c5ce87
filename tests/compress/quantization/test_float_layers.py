import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from small_graphs import model_of, optimised, run

from kdbench.compress.quantization.float_layers import shield_float_layers

RNG = np.random.default_rng(2)
LAYERS = {
    "Conv": ((6, 4, 1, 1), {}),
    "grouped Conv": ((6, 2, 1, 1), {"group": 2}),
    "ConvTranspose": ((4, 6, 1, 1), {}),
    "Gemm": ((4, 6), {}),
    "transposed Gemm": ((6, 4), {"transB": 1}),
}


def between_quantizers(layer):
    """Build Q -> DQ -> layer with float weights -> ReLU -> Q -> DQ, in which one weight hides all others in 8 bits."""
    shape, attributes = LAYERS[layer]
    weight = RNG.standard_normal(shape).astype(np.float32)
    weight.flat[0] = 4000
    nodes = [
        ("QuantizeLinear", ["x", "s", "z"], ["q"], {}),
        ("DequantizeLinear", ["q", "s", "z"], ["d"], {}),
        (layer.split()[-1], ["d", "w", "c"], ["a"], attributes),
        ("Relu", ["a"], ["r"], {}),
        ("QuantizeLinear", ["r", "t", "z"], ["p"], {}),
        ("DequantizeLinear", ["p", "t", "z"], ["y"], {}),
    ]
    weights = {"s": np.float32(0.05), "t": np.float32(0.1), "z": np.uint8(100), "w": weight, "c": np.float32([1] * 6)}
    x = RNG.uniform(-2, 2, (5, 4) if "Gemm" in layer else (5, 4, 3, 3)).astype(np.float32)
    x[:, 0] = 0  # what the large weight multiplies
    return model_of(nodes, weights, {"x": ["n", *x.shape[1:]]}, opset=19), x


@pytest.mark.parametrize("layer", list(LAYERS))
def test_a_layer_with_float_weights_computes_with_them(layer, tmp_path):
    model, x = between_quantizers(layer)
    exact = ReferenceEvaluator(model).run(None, {"x": x})[0]
    assert np.abs(run(model, x=x) - exact).max() > 0.5, "onnxruntime no longer rounds float weights: drop this module"
    assert shield_float_layers(model) == ["a"]
    np.testing.assert_allclose(run(model, x=x), exact, atol=0.11)  # one step, where a sum lies between two
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, {"x": x})[0], exact)
    kinds = {node.op_type for node in optimised(model, tmp_path).graph.node}
    assert not kinds & {"QLinearConv", "QGemm", "QLinearMatMul"}


def test_quantized_layers_and_float_graphs_stay_as_they_are():
    nodes = [
        ("DequantizeLinear", ["x_q", "s", "z"], ["d"], {}),
        ("DequantizeLinear", ["w_q", "s", "z"], ["w"], {}),
        ("Conv", ["d", "w"], ["y"], {}),
    ]
    weights = {"s": np.float32(0.1), "z": np.uint8(3), "w_q": np.ones((2, 2, 1, 1), np.uint8),
               "x_q": np.ones((1, 2, 2, 2), np.uint8)}  # fmt: skip
    model = model_of(nodes, weights, {})
    before = model.SerializeToString()
    assert shield_float_layers(model) == []
    plain = model_of([("Conv", ["x", "w"], ["y"], {})], {"w": np.ones((2, 2, 1, 1), np.float32)}, {"x": [1, 2, 2, 2]})
    assert shield_float_layers(plain) == []
    assert model.SerializeToString() == before
