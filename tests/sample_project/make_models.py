"""Writes models/teacher.onnx, models/student.onnx and data/test.npz; a real project has its own, out of training.

    python make_models.py

Both classify 8 x 8 images by the mean image of each class, and the teacher does so in a needlessly large space.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
CLASSES, SIDE, IMAGES = 4, 8, 400
WIDTH = 12_000  # of the teacher's hidden layer, which adds time and nothing else


def main() -> None:
    """Write the files."""
    rng = np.random.default_rng(0)
    means = rng.uniform(60, 195, (CLASSES, SIDE * SIDE))
    labels = rng.integers(0, CLASSES, IMAGES)
    images = np.clip(means[labels] + rng.normal(0, 100, (IMAGES, SIDE * SIDE)), 0, 255).astype(np.uint8)
    for folder in ("models", "data"):
        (HERE / folder).mkdir(exist_ok=True)
    # uint8 images (N, C, H, W) and integer labels (N,): what `data="npz:data/test.npz"` reads.
    np.savez(HERE / "data" / "test.npz", images=images.reshape(IMAGES, 1, SIDE, SIDE), labels=labels)
    weights = (means / 255).T  # the nearest mean, by least squares, is a linear layer
    bias = -0.5 * (weights**2).sum(axis=0)
    write("student", [(weights, bias)])
    wide = rng.normal(size=(SIDE * SIDE, WIDTH))
    write("teacher", [(wide, np.zeros(WIDTH)), (np.linalg.pinv(wide) @ weights, bias)])


def write(name: str, layers: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write a stack of linear layers as an ONNX file that takes images of 0 to 1 in batches of any size."""
    tensors = [numpy_helper.from_array(np.array([-1, SIDE * SIDE], np.int64), "flat")]
    nodes = [helper.make_node("Reshape", ["x", "flat"], ["h0"])]
    for number, (weight, bias) in enumerate(layers):
        values = {f"w{number}": weight, f"b{number}": bias}
        tensors += [numpy_helper.from_array(value.astype(np.float32), key) for key, value in values.items()]
        out = "logits" if number == len(layers) - 1 else f"h{number + 1}"
        nodes.append(helper.make_node("Gemm", [f"h{number}", *values], [out]))
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])
    graph = helper.make_graph(nodes, name, [image], [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, HERE / "models" / f"{name}.onnx")


if __name__ == "__main__":
    main()
