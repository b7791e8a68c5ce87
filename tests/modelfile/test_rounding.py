import numpy as np
import onnx
import pytest
from small_graphs import model_of

from kdbench.modelfile.rounding import output_step

SCALES = {"s": np.float32(0.25), "t": np.float32(0.5), "z": np.uint8(0)}
INPUT = {"x": ["n", 4]}
ROUND = [("QuantizeLinear", ["x", "s", "z"], ["q"], {}), ("DequantizeLinear", ["q", "s", "z"], ["d"], {})]
PRODUCT = ("MatMul", ["d", "w"], ["m"], {})
WEIGHTS = {**SCALES, "w": np.eye(4, dtype=np.float32)}
OUTPUT = [("QuantizeLinear", ["m", "t", "z"], ["p"], {}), ("DequantizeLinear", ["p", "t", "z"], ["e"], {})]
OF_WEIGHTS = [("DequantizeLinear", ["i", "s"], ["w"], {}), ("MatMul", ["x", "w"], ["y"], {})]

HALF = [("Cast", ["x"], ["h"], {"to": 10}), ("MatMul", ["h", "w"], ["p"], {}), ("Cast", ["p"], ["y"], {"to": 1})]


@pytest.mark.parametrize(
    ("nodes", "weights", "step"),
    [
        ([("Relu", ["x"], ["y"], {})], {}, None),
        (OF_WEIGHTS, {"i": np.eye(4, dtype=np.int8), "s": SCALES["s"]}, None),  # it rounds no activations
        ([*ROUND, PRODUCT, *OUTPUT, ("Flatten", ["e"], ["y"], {})], WEIGHTS, 0.5),  # behind what only passes it on
        ([*ROUND, PRODUCT, *OUTPUT, ("Softmax", ["e"], ["y"], {})], WEIGHTS, 10.2 / 255),
        ([*ROUND, ("MatMul", ["d", "w"], ["y"], {})], WEIGHTS, 10.2 / 255),  # a sum of many steps
        (HALF, {"w": np.eye(4, dtype=np.float16)}, 6 / 1024),  # between 4 and 8, a step is 1/256
    ],
)
def test_the_step_of_an_output(tmp_path, nodes, weights, step):
    path = tmp_path / "m.onnx"
    onnx.save(model_of(nodes, weights, INPUT), path)
    result = output_step(path, "y", 10.2, 6.0)
    assert result is None if step is None else result == pytest.approx(step)
