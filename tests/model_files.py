"""Tiny ONNX classifiers with known answers, and the models to measure made of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.modelfile.facts import inspect
from kdbench.results.cards import ModelCard
from kdbench.results.preprocessing import Preprocessing

SHAPE = (2, 3, 4)  # channels, height, width
CLASSES = 6


def _build(
    path: Path,
    *,
    classes: int = CLASSES,
    shape: tuple[int | str, ...] = SHAPE,
    batch: int | str = "n",
    dtype: str = "float32",
    softmax: bool = False,
    bias: float = 0.0,
    seed: int = 0,
    op: str = "Gemm",
) -> Path:
    """Write `flatten -> weights of the seed -> (softmax)`; an `op` other than Gemm is one that no runtime supports."""
    weights, offsets = _weights(seed, int(np.prod(SHAPE)), classes)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x = helper.make_tensor_value_info("x", element, [batch, *shape])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, classes])
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["flat"]),
        helper.make_node(op, ["flat", "w", "b"], ["logits"], domain="" if op == "Gemm" else "nobody"),
        helper.make_node("Softmax" if softmax else "Identity", ["logits"], ["y"]),
    ]
    stored = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(offsets + np.float32(bias), "b")]
    graph = helper.make_graph(nodes, "tiny", [x], [result], stored)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nobody", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def _weights(seed: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((features, classes)).astype(np.float32)
    return weights, rng.standard_normal(classes).astype(np.float32)


def _by_hand(
    images: np.ndarray, *, seed: int = 0, classes: int = CLASSES, pre: Preprocessing | None = None, axes=(0, 1, 2, 3)
) -> np.ndarray:
    """Compute what `_build`'s model gives, in float64; `axes` is the order the model sees its dimensions in."""
    pre = pre or Preprocessing()
    channels = images.shape[1]
    mean, std = (np.resize(values, channels)[:, None, None] for values in (pre.mean, pre.std))
    inputs = ((images / pre.scale - mean) / std).transpose(axes)
    weights, offsets = _weights(seed, int(np.prod(images.shape[1:])), classes)
    return inputs.reshape(len(images), -1) @ weights + offsets


def _bench_model(
    path: Path, *, teacher: str | None = None, timed: bool = True, data: bool = True, **card
) -> BenchModel:
    facts = inspect(path, data_shape=SHAPE if data else None)
    values = {
        "id": path.stem,
        "name": path.stem,
        "role": "teacher" if teacher is None else "student",
        "file": path.name,
        "sha256": facts.sha256,
        "input_shape": SHAPE,
        "classes": facts.classes,
        "parameters": facts.parameters,
        "preprocessing": Preprocessing(),
    }
    return BenchModel(ModelCard(**{**values, **card}), path, facts, teacher, timed)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny classifier by that name."""
    return lambda name="tiny", **options: _build(tmp_path / f"{name}.onnx", **options)


@pytest.fixture
def bench_model() -> Callable[..., BenchModel]:
    """Make a BenchModel of a model file; further keywords go to its card."""
    return _bench_model


@pytest.fixture(scope="session")
def by_hand() -> Callable[..., np.ndarray]:
    """Compute the logits of a tiny classifier with numpy."""
    return _by_hand


@pytest.fixture(scope="session")
def test_set() -> TestSet:
    """Fifty images, labelled by the classifier of seed 0; one label in five is then moved to the next class."""
    images = np.random.default_rng(5).integers(0, 256, (50, *SHAPE), dtype=np.uint8)
    labels = _by_hand(images).argmax(axis=1)
    labels[::5] = (labels[::5] + 1) % CLASSES
    return TestSet(images, labels.astype(np.int64))


class Watcher:
    """A progress that remembers its steps and takes nothing else."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float, str]] = []

    def stage(self, title: str, number: int, total: int) -> None:
        raise AssertionError("the pipeline names the stages")

    def step(self, done: float, total: float, detail: str = "") -> None:
        self.steps.append((done, total, detail))

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def folder(self, path: Path) -> None:
        raise AssertionError(path)


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()
