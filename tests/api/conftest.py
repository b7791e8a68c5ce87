"""A folder as a user has it: two models, a run of them, a study."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import kdbench
from kdbench.data.dataset import Request
from kdbench.data.digits import load_digits

HIDDEN = 320  # of the teacher: 74 MACs each
STUDY = """
name = "tiny"
[data]
name = "digits"
[training]
epochs = 1
[measure]
times = false
energy = "off"
[analysis]
train_samples = 0
[[teacher]]
name = "teacher"
model = "64-32-10"
[[student]]
name = "student"
model = "64-10"
terms = [{ method = "kd" }]
"""


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder; tests must not change what is in it."""
    folder = tmp_path_factory.mktemp("workplace")
    train = load_digits(Request("digits")).train
    means = np.stack([train.inputs[train.labels == label].mean(axis=0).ravel() / 255 for label in range(10)])
    nearest, bias = means.T, -0.5 * (means**2).sum(axis=1)  # the class of the nearest mean
    wide = np.random.default_rng(0).normal(size=(64, HIDDEN))
    _write(folder / "student.onnx", [(nearest, bias)])
    _write(folder / "teacher.onnx", [(wide, np.zeros(HIDDEN)), (np.linalg.pinv(wide) @ nearest, bias)])
    (folder / "study.toml").write_text(STUDY)
    files = [folder / "teacher.onnx", folder / "student.onnx"]
    kdbench.bench(files, data="digits", measure={"times": False}, out=folder / "runs/digits")
    return folder


def _write(path: Path, layers: list[tuple[np.ndarray, np.ndarray]]) -> None:
    tensors, nodes, before = [], [helper.make_node("Flatten", ["x"], ["h0"])], "h0"
    for number, arrays in enumerate(layers, 1):
        names = [f"{kind}{number}" for kind in "wb"]
        tensors += [numpy_helper.from_array(a.astype(np.float32), n) for a, n in zip(arrays, names, strict=True)]
        after = "y" if number == len(layers) else f"h{number}"
        nodes.append(helper.make_node("Gemm", [before, *names], [after]))
        before = after
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(nodes, path.stem, [image], [logits], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
