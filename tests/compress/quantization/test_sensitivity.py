import math

import numpy as np
import onnx
import pytest
from compress.readers import OneBatch
from onnxruntime.quantization import QuantType, quantize_static
from small_graphs import model_of, run, stored

from kdbench.compress.observing import Samples
from kdbench.compress.quantization.float_layers import shield_float_layers
from kdbench.compress.quantization.sensitivity import keep_in_float, layer_noise, snr_db
from kdbench.errors import InputError

RNG = np.random.default_rng(1)
X = RNG.standard_normal((40, 3, 8, 8)).astype(np.float32)
X[:, 0] = 0


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def three_layers(wide=None):
    """Build conv -> ReLU -> conv -> ReLU -> conv.

    One layer may have a weight of 3000 for an input that is always 0: per tensor, all its others round to zero.
    """
    nodes = [
        ("Conv", ["x", "w0", "c0"], ["a0"], {}),
        ("Relu", ["a0"], ["r0"], {}),
        ("Conv", ["r0", "w1", "c1"], ["a1"], {}),
        ("Relu", ["a1"], ["r1"], {}),
        ("Conv", ["r1", "w2", "c2"], ["y"], {}),
    ]
    weights = {"w0": normal(6, 3, 3, 3), "w1": normal(6, 6, 1, 1), "w2": normal(4, 6, 1, 1)}
    weights |= {f"c{n}": normal(len(weights[f"w{n}"])) for n in range(3)}
    for n in range(2):
        weights[f"w{n}"][0] = weights[f"c{n}"][0] = 0
    if wide is not None:
        weights[f"w{wide}"][:, 0] = 3000
    return model_of(nodes, weights, {"x": ["n", 3, 8, 8]})


def quantized(model, folder, exclude=(), **options):
    onnx.save(model, folder / "float.onnx")
    options = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "reduce_range": True} | options
    quantize_static(folder / "float.onnx", folder / "int8.onnx", OneBatch(X), nodes_to_exclude=list(exclude), **options)
    small = onnx.load(folder / "int8.onnx")
    shield_float_layers(small)
    return small


def decibels(exact, noisy):
    return 10 * np.log10(np.sum(exact.astype(float) ** 2) / np.sum((noisy.astype(float) - exact) ** 2))


@pytest.mark.parametrize("wide", [0, 1, 2])
def test_the_layer_that_makes_the_noise_is_first(wide, tmp_path):
    model = three_layers(wide)
    table = layer_noise(model, quantized(model, tmp_path), Samples(X))
    assert [noise.alone_snr_db for noise in table] == sorted(noise.alone_snr_db for noise in table)
    assert table[0].name == f"Conv_{2 * wide}"
    assert table[0].alone_snr_db < 5
    assert table[1].alone_snr_db > 25


@pytest.mark.parametrize("symmetric", [False, True])  # ReLU is folded into the convolution, or stays
def test_ratios_are_those_of_the_tensors(symmetric, tmp_path):
    model = three_layers()
    options = {"activation_type": QuantType.QInt8, "extra_options": {"ActivationSymmetric": True}} if symmetric else {}
    small = quantized(model, tmp_path, **options)
    table = {noise.name: noise for noise in layer_noise(model, small, Samples(X))}
    assert table["Conv_4"].snr_db == pytest.approx(decibels(run(model, x=X), run(small, x=X)), abs=0.3)
    # Alone: the last layer's input in float, rounded as the file says, times its rounded weights; then its own output.
    inner = onnx.ModelProto.FromString(model.SerializeToString())
    inner.graph.output.insert(0, onnx.helper.make_tensor_value_info("r1", onnx.TensorProto.FLOAT, None))
    weights = stored(small, "w2_quantized").astype(float) * stored(small, "w2_scale")
    product = np.einsum("oi,nihw->nohw", weights[:, :, 0, 0], rounded(small, "r1", run(inner, x=X)))
    alone = rounded(small, "y", product + stored(model, "c2")[:, None, None])
    assert table["Conv_4"].alone_snr_db == pytest.approx(decibels(run(model, x=X), alone), abs=0.1)


def rounded(model, name, values):
    """Return values rounded to the scale that a quantized model has for the tensor `name`."""
    scale, zero = stored(model, f"{name}_scale").astype(float), stored(model, f"{name}_zero_point")
    info = np.iinfo(zero.dtype)
    return (np.clip(np.round(values / scale) + zero, info.min, info.max) - zero) * scale


def test_a_layer_in_float_has_no_noise_of_its_own(tmp_path):
    model = three_layers(1)
    table = layer_noise(model, quantized(model, tmp_path, ["Conv_2"]), Samples(X))
    kept = next(noise for noise in table if noise.name == "Conv_2")
    assert kept == table[-1]
    assert kept.alone_snr_db > table[-2].alone_snr_db + 3  # the rounding of its input, which it reads quantized
    assert kept.snr_db < kept.alone_snr_db  # and the noise of the first


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    model = three_layers()
    other = model_of([("Conv", ["x", "w"], ["z"], {})], {"w": normal(4, 3, 1, 1)}, {"x": ["n", 3, 8, 8]}, ("z",))
    with pytest.raises(InputError, match="no tensor with the name") as caught:
        layer_noise(model, other, Samples(X))
    assert "float file" in caught.value.hint


def test_a_fixed_batch_is_kept(tmp_path):
    model = three_layers()
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 20
    onnx.save(model, tmp_path / "fixed.onnx")
    small = quantized(three_layers(), tmp_path)
    assert layer_noise(model, small, Samples(X[:39], batch=20)) == layer_noise(model, small, Samples(X[:20], batch=20))
    with pytest.raises(InputError, match="19 samples"):
        layer_noise(model, small, Samples(X[:19], batch=20))


def test_snr():
    signal = np.array([3.0, 4.0])
    assert snr_db(signal, signal + np.array([0.3, 0.4])) == pytest.approx(20)
    assert snr_db(signal, signal) == math.inf
    assert snr_db(np.zeros(2), signal) == -math.inf


def test_the_fewest_layers_are_kept_that_meet_the_goal():
    trials = []

    def holds(kept):
        trials.append(kept)
        return len(kept) >= 2

    assert keep_in_float(["worst", "bad", "good"], holds) == ("worst", "bad")
    assert trials == [(), ("worst",), ("worst", "bad")]
    assert keep_in_float(["worst"], lambda _: True) == ()
    with pytest.raises(InputError, match="all 1 layers"):
        keep_in_float(["worst"], lambda _: False)


def test_keeping_the_worst_layer_restores_the_answer(tmp_path):
    model = three_layers(1)
    exact = run(model, x=X)
    order = [noise.name for noise in layer_noise(model, quantized(model, tmp_path), Samples(X))]

    def holds(kept):
        return snr_db(exact, run(quantized(model, tmp_path, kept), x=X)) >= 20

    assert keep_in_float(order, holds) == ("Conv_2",)
