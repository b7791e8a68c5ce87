import platform

import numpy as np
import onnx
import pytest
from compress.networks import convolutional
from small_graphs import optimised, run, stored

from kdbench.compress import Calibration, Source
from kdbench.compress.methods.int8 import Int8
from kdbench.errors import InputError
from kdbench.modelfile.facts import inspect
from kdbench.results.cards import CalibrationSet

X = np.random.default_rng(0).standard_normal((16, 3, 8, 8)).astype(np.float32)


def outcome_of(path, target, inputs=X, **settings):
    known = CalibrationSet(data="random", count=len(inputs), seed=0, sha256="0" * 64)
    return Int8(**settings).compress(Source(path, inspect(path), Calibration(inputs, known)), target)


def compressed(path, target, **settings):
    outcome_of(path, target, **settings)
    return onnx.load(target)


def test_equalize_restores_channels_that_were_rescaled(tmp_path):
    model = onnx.load(convolutional(tmp_path / "net.onnx"))
    exact = run(model, x=X)
    s = np.float32([300, 1, 1, 1, 1, 1, 1, 1])
    for tensor in model.graph.initializer:
        factor = {"w1": s[:, None, None, None], "b1": s, "w2": 1 / s[:, None, None]}.get(tensor.name)
        if factor is not None:
            tensor.CopyFrom(onnx.numpy_helper.from_array(stored(model, tensor.name) * factor, tensor.name))
    onnx.save(model, tmp_path / "wide.onnx")

    def error(**settings):
        small = compressed(tmp_path / "wide.onnx", tmp_path / "int8.onnx", per_channel=False, **settings)
        return np.abs(run(small, x=X) - exact).max()

    assert error(equalize=True) < 0.1 * error(equalize=False)


def test_a_layer_that_is_kept_runs_in_float(tmp_path):
    path = convolutional(tmp_path / "net.onnx")
    small = compressed(path, tmp_path / "int8.onnx", keep_float=("second",))
    graph = optimised(small, tmp_path).graph
    convolutions = [node.op_type for node in graph.node if "Conv" in node.op_type]
    assert sorted(kind == "QLinearConv" for kind in convolutions) == [False, True]
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
    # Some processors have the weights in blocks, padded with zeros.
    assert any(array.dtype == np.float32 and np.count_nonzero(array) == 8 * 8 * 9 for array in weights)


def test_layers_stay_in_float_until_the_ratio_holds(tmp_path):
    path = convolutional(tmp_path / "net.onnx")
    model = onnx.load(path)
    weight = stored(model, "w2").copy()
    weight[:, 0, 0, 0] = 500  # per tensor, it hides all others of this layer
    for tensor in model.graph.initializer:
        if tensor.name == "w2":
            tensor.CopyFrom(onnx.numpy_helper.from_array(weight, "w2"))
        if tensor.name in {"w1", "b1"}:  # and multiplies a channel that is always 0
            array = stored(model, tensor.name).copy()
            array[0] = 0
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(model, path)
    outcome = outcome_of(path, tmp_path / "int8.onnx", per_channel=False, min_snr_db=20)
    assert outcome.facts["kept_float"] == ["second"]
    exact, small = run(model, x=X), run(onnx.load(tmp_path / "int8.onnx"), x=X)
    assert 10 * np.log10(np.sum(exact**2) / np.sum((small - exact) ** 2)) >= 20
    assert outcome.facts["snr_db"] >= 20
    assert outcome_of(path, tmp_path / "int8.onnx", per_channel=False).facts["snr_db"] < 10
    with pytest.raises(InputError, match="all 3 layers"):
        outcome_of(path, tmp_path / "int8.onnx", min_snr_db=200)


def test_bias_correction_centres_the_answer(tmp_path):
    path = convolutional(tmp_path / "net.onnx")
    exact = run(onnx.load(path), x=X).mean(axis=0)

    def shift(**settings):
        small = compressed(path, tmp_path / "int8.onnx", per_channel=False, **settings)
        return np.abs(run(small, x=X).mean(axis=0) - exact).max()

    assert shift(correct_bias=True) < 0.6 * shift()


def test_the_card_tells_the_noise_of_each_layer_worst_first(tmp_path):
    facts = outcome_of(convolutional(tmp_path / "net.onnx"), tmp_path / "int8.onnx").facts
    assert set(facts["layer_snr_db"]) == {"first", "second", "last"}
    assert list(facts["layer_snr_db"].values()) == sorted(facts["layer_snr_db"].values())


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="other processors have other kernels")
def test_layers_without_an_integer_kernel_are_told(resnet20, tmp_path):
    images = np.random.default_rng(1).standard_normal((2, 3, 32, 32)).astype(np.float32)
    (line,) = outcome_of(resnet20, tmp_path / "int8.onnx", images, activations="int8").warnings
    assert line.startswith("10 of 20 quantized layers")


def test_layers_that_were_kept_are_not_told(tmp_path):
    path = convolutional(tmp_path / "net.onnx")
    assert outcome_of(path, tmp_path / "int8.onnx").warnings == ()
    assert outcome_of(path, tmp_path / "int8.onnx", keep_float=("second", "relu2")).warnings == ()
