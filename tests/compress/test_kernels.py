import platform
from collections import Counter

import numpy as np
import onnx
import pytest
from compress.readers import OneBatch
from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
from small_graphs import model_of, optimised

from kdbench.compress.kernels import INTEGER_KERNELS, kernels_of
from kdbench.errors import InputError

RNG = np.random.default_rng(7)
X = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)
MACS = {"Conv_0": 8 * 3 * 9 * 64, "Conv_2": 8 * 8 * 64, "Gemm_5": 8 * 5}


@pytest.fixture
def floating(tmp_path):
    nodes = [
        ("Conv", ["x", "w0"], ["a0"], {"pads": [1, 1, 1, 1]}),
        ("Relu", ["a0"], ["r0"], {}),
        ("Conv", ["r0", "w1"], ["a1"], {}),
        ("GlobalAveragePool", ["a1"], ["m"], {}),
        ("Flatten", ["m"], ["f"], {}),
        ("Gemm", ["f", "w2", "c2"], ["y"], {}),
    ]
    shapes = {"w0": (8, 3, 3, 3), "w1": (8, 8, 1, 1), "w2": (8, 5), "c2": (5,)}
    weights = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    onnx.save(model_of(nodes, weights, {"x": ["n", 3, 8, 8]}), tmp_path / "float.onnx")
    return tmp_path / "float.onnx"


def quantized(path, **options):
    target = path.with_name("int8.onnx")
    options = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8} | options
    quantize_static(path, target, OneBatch(X), reduce_range=True, **options)
    return target


def test_a_float_file_has_none(floating):
    kernels = kernels_of(floating)
    assert Counter(macs for *_, macs in kernels.layers) == Counter(MACS.values())
    assert kernels.integer == ()
    assert len(kernels.floating) == 3
    assert kernels.integer_share == 0
    assert kernels.casts == 0


def test_a_quantized_file_runs_all_layers_as_integers(floating):
    kernels = kernels_of(quantized(floating))
    assert len(kernels.integer) == 3
    assert kernels.floating == ()
    assert kernels.integer_share == 1
    assert sum(macs for *_, macs in kernels.layers) == sum(MACS.values())


def test_the_share_is_that_of_multiply_accumulates(floating):
    kernels = kernels_of(quantized(floating, nodes_to_exclude=["Conv_0"]))
    assert len(kernels.floating) == 1
    assert kernels.integer_share == pytest.approx(1 - MACS["Conv_0"] / sum(MACS.values()))


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
def test_layouts_of_the_full_optimisation_change_nothing(floating, kind, tmp_path):
    file = quantized(floating, activation_type=kind, per_channel=True)
    operators = [node.op_type for node in optimised(onnx.load(file), tmp_path).graph.node]
    assert len(kernels_of(file).integer) == sum(operator in INTEGER_KERNELS for operator in operators)


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="other processors have other kernels")
def test_signed_activations_leave_convolutions_in_float_on_x86(resnet20, tmp_path):
    noise, counts = RNG.standard_normal((2, 3, 32, 32)).astype(np.float32), {}
    for kind in (QuantType.QInt8, QuantType.QUInt8):
        reader = OneBatch(noise, "input")
        quantize_static(resnet20, tmp_path / "small.onnx", reader, activation_type=kind, weight_type=QuantType.QInt8)
        counts[kind] = kernels_of(tmp_path / "small.onnx")
    assert len(counts[QuantType.QInt8].floating) == 10  # of 19 convolutions; the classifier runs in integers
    assert len(counts[QuantType.QInt8].integer) == 10
    assert counts[QuantType.QUInt8].floating == ()
    assert sum(macs for *_, macs in counts[QuantType.QUInt8].layers) == 40_551_040


def test_dynamic_quantization_counts_as_integers(floating, tmp_path):
    quantize_dynamic(floating, tmp_path / "dynamic.onnx")
    kernels = kernels_of(tmp_path / "dynamic.onnx")
    assert kernels.integer_share == 1
    assert kernels.casts == 0  # its casts come from integers


def test_an_open_size_leaves_the_share_of_layers(floating):
    model = onnx.load(quantized(floating, nodes_to_exclude=["Conv_0"]))
    for axis in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.dim_param = "side"
    onnx.save(model, floating)
    kernels = kernels_of(floating, (3, None, None))
    assert (len(kernels.integer), len(kernels.floating)) == (2, 1)
    assert kernels.integer_share == pytest.approx(2 / 3)
    assert kernels_of(floating, (3, 8, 8)).integer_share == pytest.approx(1 - MACS["Conv_0"] / sum(MACS.values()))


def test_a_file_that_does_not_load_is_refused(tmp_path):
    onnx.save(model_of([("Nonsense", ["x"], ["y"], {})], {}, {"x": [1, 2]}), tmp_path / "odd.onnx")
    with pytest.raises(InputError, match="does not load"):
        kernels_of(tmp_path / "odd.onnx")
