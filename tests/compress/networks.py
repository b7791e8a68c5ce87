"""Small float networks as ONNX files."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 10
_WEIGHTS = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "w3": (8, CLASSES), "b3": (CLASSES,)}


def convolutional(
    path: Path, *, opset: int = 17, batch: int | str = "n", side: int | str = 8, named: bool = True
) -> Path:
    """Write conv → ReLU → conv → ReLU → mean → Gemm on images of 3 channels, with weights of one seed."""
    rng = np.random.default_rng(0)
    stored = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) / 3, name)
        for name, shape in _WEIGHTS.items()
    ]
    names = iter(["first", "relu1", "second", "relu2", "mean", "flat", "last"] if named else [""] * 7)
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name=next(names), pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], name=next(names)),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name=next(names), pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"], name=next(names)),
        helper.make_node("GlobalAveragePool", ["r2"], ["m"], name=next(names)),
        helper.make_node("Flatten", ["m"], ["f"], name=next(names)),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name=next(names)),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, side, side])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, CLASSES])
    graph = helper.make_graph(nodes, "small", [image], [logits], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path
