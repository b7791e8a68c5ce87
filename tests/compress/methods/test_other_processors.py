"""A quantized file answers alike on a processor without VNNI, which QEMU emulates."""

import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from compress.networks import convolutional
from small_graphs import session_of

from kdbench.compress import Calibration, Source
from kdbench.compress.methods.int8 import Int8
from kdbench.compress.observing import Observer
from kdbench.modelfile.facts import inspect
from kdbench.results.cards import CalibrationSet

QEMU = shutil.which("qemu-x86_64")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(QEMU is None, reason="qemu-x86_64 is not installed (Debian's package qemu-user)"),
]
RUN = """
import sys
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.log_severity_level = 1, 3
inputs = np.load(sys.argv[1])
for path in sys.argv[2:]:
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    np.save(path + ".npy", session.run(None, {session.get_inputs()[0].name: inputs})[0])
"""


def on_haswell(folder, inputs, *paths):
    """Return the answers of files on a Haswell: AVX2, without an instruction that adds products of bytes in 32 bits."""
    np.save(folder / "inputs.npy", inputs)
    command = [QEMU, "-cpu", "Haswell", sys.executable, "-c", RUN, folder / "inputs.npy", *paths]
    emulated = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert emulated.returncode == 0, emulated.stderr[-2000:]
    return [np.load(f"{path}.npy") for path in paths]


def int8(source, target, inputs, **settings):
    known = CalibrationSet(data="random", count=len(inputs), seed=0, sha256="0" * 64)
    Int8(**settings).compress(Source(source, inspect(source), Calibration(inputs, known)), target)
    return target


def here(path, inputs):
    return session_of(path).run(None, {session_of(path).get_inputs()[0].name: inputs})[0]


def test_weights_of_7_bits_answer_alike_and_those_of_8_saturate(tmp_path):
    source = convolutional(tmp_path / "net.onnx")
    model = onnx.load(source)
    for tensor in model.graph.initializer:  # weights of one sign, whose products add up
        array = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.abs(array) + np.float32(0.5), tensor.name))
    onnx.save(model, source)
    inputs = np.random.default_rng(0).uniform(0.5, 1, (8, 3, 8, 8)).astype(np.float32)
    seven = int8(source, tmp_path / "seven.onnx", inputs)
    eight = int8(source, tmp_path / "eight.onnx", inputs, reduce_range=False)
    of_seven, of_eight = on_haswell(tmp_path, inputs, seven, eight)
    np.testing.assert_array_equal(of_seven, here(seven, inputs))

    def exact(path):
        return Observer(onnx.load(path), ["y"], simulated=True)(inputs)["y"]

    assert np.abs(of_seven - exact(seven)).max() < 0.05 * np.abs(of_seven).max()
    assert np.abs(of_eight - exact(eight)).max() > 0.2 * np.abs(of_eight).max()


def test_a_known_network_answers_alike(resnet20, tmp_path):
    inputs = np.random.default_rng(1).standard_normal((4, 3, 32, 32)).astype(np.float32)
    path = int8(resnet20, tmp_path / "int8.onnx", inputs)
    (emulated,) = on_haswell(tmp_path, inputs, path)
    np.testing.assert_array_equal(emulated, here(path, inputs))
