import numpy as np
import onnx
import pytest
from compress.readers import OneBatch
from onnxruntime.quantization import QuantType, quantize_static
from small_graphs import model_of, optimised, stored

from kdbench.compress.observing import Observer, Samples
from kdbench.compress.quantization.bias_correction import correct_biases

RNG = np.random.default_rng(5)
X = RNG.gamma(1.0, 1.0, (64, 3, 6, 6)).astype(np.float32)  # not centred, so that rounded weights shift the means


def network(biases=True, *, shared=False):
    """Build conv -> ReLU -> conv -> ReLU -> mean -> Gemm."""
    names = {"c0": "c0", "c1": "c0" if shared else "c1", "c2": "c2"} if biases else {}
    nodes = [
        ("Conv", ["x", "w0", *([names["c0"]] if biases else [])], ["a0"], {}),
        ("Relu", ["a0"], ["r0"], {}),
        ("Conv", ["r0", "w1", *([names["c1"]] if biases else [])], ["a1"], {}),
        ("Relu", ["a1"], ["r1"], {}),
        ("GlobalAveragePool", ["r1"], ["m"], {}),
        ("Flatten", ["m"], ["f"], {}),
        ("Gemm", ["f", "w2", *([names["c2"]] if biases else [])], ["y"], {"transB": 1}),
    ]
    shapes = {"w0": (8, 3, 3, 3), "w1": (8, 8, 3, 3), "w2": (5, 8), "c0": (8,), "c1": (8,), "c2": (5,)}
    used = {name for _, read, _, _ in nodes for name in read}
    weights = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items() if name in used}
    return model_of(nodes, weights, {"x": ["n", 3, 6, 6]})


def quantized(model, folder, *, per_channel=False, exclude=()):
    onnx.save(model, folder / "float.onnx")
    quantize_static(folder / "float.onnx", folder / "int8.onnx", OneBatch(X), activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8, reduce_range=True, per_channel=per_channel,
                    nodes_to_exclude=list(exclude))  # fmt: skip
    return onnx.load(folder / "int8.onnx")


LAYERS = [("a0", "r0", (0, 2, 3)), ("a1", "r1", (0, 2, 3)), ("y", "y_QuantizeLinear_Input", 0)]


def shifts(floating, small, layers=LAYERS):
    """Return how far the mean of each layer's channels is off, before it is quantized."""
    exact = Observer(floating, [name for name, _, _ in layers])(X)
    noisy = Observer(small, [name for _, name, _ in layers], simulated=True)(X)
    return [noisy[there].mean(axes, dtype=float) - exact[here].mean(axes, dtype=float) for here, there, axes in layers]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("model", [network(), network(biases=False), network(shared=True)], ids=["own", "no", "shared"])
def test_means_of_all_channels_are_those_of_the_float_model(model, per_channel, tmp_path):
    small = quantized(model, tmp_path, per_channel=per_channel)
    corrected = correct_biases(model, small, Samples(X))
    before, after = shifts(model, small), shifts(model, corrected)
    for one, other, (_, name, _) in zip(before, after, LAYERS, strict=True):
        step = stored(corrected, f"{name}/corrected_bias_scale")
        assert (np.abs(other) <= 0.51 * step + 1e-5).all()  # a bias is an integer
        assert np.abs(one).max() > 3 * np.abs(other).max()


def test_the_layers_still_run_as_integer_kernels(tmp_path):
    for biases in (True, False):
        model = network(biases)
        corrected = correct_biases(model, quantized(model, tmp_path), Samples(X))
        kinds = [node.op_type for node in optimised(corrected, tmp_path).graph.node]
        assert kinds.count("QLinearConv") == 2
        assert "Conv" not in kinds
        assert "Gemm" not in kinds
        # Replaced biases leave nothing behind.
        read = {name for node in corrected.graph.node for name in node.input}
        assert {tensor.name for tensor in corrected.graph.initializer} <= read


def test_a_layer_in_float_is_corrected_for_the_noise_before_it(tmp_path):
    model = network()
    small = quantized(model, tmp_path, exclude=["Conv_2"])
    corrected = correct_biases(model, small, Samples(X))
    layer = [("a1", "a1", (0, 2, 3))]
    assert np.abs(shifts(model, small, layer)[0]).max() > 1e-3
    assert np.abs(shifts(model, corrected, layer)[0]).max() < 1e-5
    assert stored(corrected, "a1/corrected_bias").dtype == np.float32


def test_the_given_model_is_not_changed(tmp_path):
    model = network()
    small = quantized(model, tmp_path)
    before = small.SerializeToString()
    correct_biases(model, small, Samples(X))
    assert small.SerializeToString() == before
