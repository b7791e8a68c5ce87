"""Operators that compute as in training, against what onnxruntime computes from the file."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from modelfile.graph_parts import graph_of, value
from onnx import helper, numpy_helper
from torch import nn

from kdbench.modelfile.facts import read_facts
from kdbench.recipe import InputOptions
from kdbench.workflows.files.model_files import load_bench_model

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def outputs(path):
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: X})[0]


def save(path, nodes, stored):
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    onnx.save(graph_of([value("x", [6, 4])], [value("y", [6, 4])], nodes, tensors), path)
    return path


@pytest.mark.parametrize("as_node", [True, False])
@pytest.mark.parametrize(("ratio", "mode"), [(0.5, True), (0.5, False), (0.0, True)])
def test_a_dropout_in_training_mode_changes_values(tmp_path, ratio, mode, as_node):
    stored = {"ratio": np.float32(ratio), "mode": np.array(mode)}
    nodes = [helper.make_node("Dropout", ["x", "ratio", "mode"], ["y"])]
    if as_node:
        nodes.insert(0, helper.make_node("Constant", [], ["mode"], value=numpy_helper.from_array(stored.pop("mode"))))
    path = save(tmp_path / "m.onnx", nodes, stored)
    changes = bool((outputs(path) != X).any())
    assert changes == (mode and ratio > 0)
    assert read_facts(path).training == ("Dropout",) * changes


def test_a_dropout_without_a_mode_does_nothing(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Dropout", ["x"], ["y"])], {})
    assert (outputs(path) == X).all()
    assert read_facts(path).training == ()


def test_random_numbers_are_those_of_dropped_paths(tmp_path):
    nodes = [helper.make_node("Bernoulli", ["half"], ["kept"], dtype=1), helper.make_node("Mul", ["x", "kept"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {"half": np.full((6, 4), 0.5, np.float32)})
    assert (outputs(path) == 0).any()
    assert read_facts(path).training == ("Bernoulli",)


@pytest.mark.parametrize("mode", [0, 1])
def test_a_batch_norm_in_training_mode_normalises_by_the_batch(tmp_path, mode):
    numbers = {"scale": 1.0, "shift": 0.0, "mean": 5.0, "variance": 1.0}
    results = ["y", "new_mean", "new_variance"][: 1 + 2 * mode]
    node = helper.make_node("BatchNormalization", ["x", *numbers], results, training_mode=mode)
    stored = {name: np.full(4, number, np.float32) for name, number in numbers.items()}
    path = save(tmp_path / "m.onnx", [node], stored)
    np.testing.assert_allclose(outputs(path).mean(axis=0), 0 if mode else X.mean(axis=0) - 5, atol=1e-4)
    assert read_facts(path).training == ("BatchNormalization",) * mode


@pytest.mark.filterwarnings("ignore:Exporting a model while it is in training mode")
@pytest.mark.parametrize("trains", [True, False])
def test_a_network_that_is_exported_without_eval_is_warned_about(tmp_path, trains):
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)).train(trains)
    torch.onnx.export(network, (torch.zeros(6, 4),), tmp_path / "m.onnx", dynamo=True, verbose=False)
    _, diagnostics = load_bench_model(tmp_path / "m.onnx", "m", InputOptions(accuracy=False), reference="m")
    assert [diagnostic.code for diagnostic in diagnostics] == ["training_mode"] * trains
    assert all("model.eval()" in diagnostic.remedy for diagnostic in diagnostics)
