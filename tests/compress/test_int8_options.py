import numpy as np
import onnx
from compress.networks import convolutional
from small_graphs import optimised, run, stored

from kdbench.compress import Calibration, Source
from kdbench.compress.int8 import Int8
from kdbench.modelfile.facts import inspect
from kdbench.results.cards import CalibrationSet

X = np.random.default_rng(0).standard_normal((16, 3, 8, 8)).astype(np.float32)


def compressed(path, target, **settings):
    known = CalibrationSet(data="random", count=len(X), seed=0, sha256="0" * 64)
    Int8(**settings).compress(Source(path, inspect(path), Calibration(X, known)), target)
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
    assert any(array.dtype == np.float32 and array.size == 8 * 8 * 9 for array in weights)
