import gzip

import numpy as np
import onnx
import pytest
from compress.networks import convolutional
from onnx import TensorProto, helper, numpy_helper
from small_graphs import model_of, run, stored

from kdbench.compress import COMPRESSORS, Calibration, Source
from kdbench.compress.methods.int8 import Int8
from kdbench.compress.methods.sparse import Sparse, smallest
from kdbench.errors import InputError
from kdbench.modelfile.facts import inspect, read_facts
from kdbench.results.cards import CalibrationSet

RNG = np.random.default_rng(3)
X = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)


def compress(path, target, **settings):
    return Sparse(**settings).compress(Source(path, inspect(path)), target)


def zeros(model, *names):
    return [int((stored(model, name) == 0).sum()) for name in names]


def test_the_weights_of_the_least_magnitude_become_zero(tmp_path):
    path, target = convolutional(tmp_path / "net.onnx"), tmp_path / "sparse.onnx"
    outcome = compress(path, target, sparsity=0.8)
    before, after = onnx.load(path), onnx.load(target)
    names = ("w1", "w2", "w3")
    old, new = (np.concatenate([stored(model, name).ravel() for name in names]) for model in (before, after))
    count = round(0.8 * old.size)
    assert np.flatnonzero(new == 0).tolist() == sorted(np.argsort(np.abs(old), kind="stable")[:count].tolist())
    assert (new[new != 0] == old[new != 0]).all()
    assert stored(after, "b1").tolist() == stored(before, "b1").tolist()
    assert outcome.facts["zero_share"] == pytest.approx(count / old.size, abs=1e-6)
    assert (read_facts(target).parameters, target.stat().st_size) == (read_facts(path).parameters, path.stat().st_size)
    assert COMPRESSORS.get("sparse") is Sparse


def test_it_is_smaller_only_when_compressed_and_no_faster(tmp_path):
    path, target = convolutional(tmp_path / "net.onnx"), tmp_path / "sparse.onnx"
    outcome = compress(path, target, sparsity=0.9)
    sizes = [outcome.facts[key] for key in ("source_compressed_bytes", "compressed_bytes")]
    assert sizes == pytest.approx([len(gzip.compress(file.read_bytes(), 6)) for file in (path, target)], abs=30)
    assert sizes[1] < 0.5 * sizes[0]
    (line,) = outcome.warnings
    assert "does not make it faster" in line
    assert "times as long" in line
    assert "its compressed size falls" in line


def test_zeros_that_were_there_before_make_nothing_smaller(tmp_path):
    path, once, again = convolutional(tmp_path / "net.onnx"), tmp_path / "once.onnx", tmp_path / "again.onnx"
    compress(path, once, sparsity=0.5)
    outcome = compress(once, again, sparsity=0.3)
    assert outcome.facts["zero_share"] == pytest.approx(0.5, abs=1e-3)
    assert "its compressed size does not fall" in outcome.warnings[0]


def test_every_layer_loses_the_same_share(tmp_path):
    path, target = convolutional(tmp_path / "net.onnx"), tmp_path / "sparse.onnx"
    compress(path, target, scope="layer", sparsity=0.25)
    assert zeros(onnx.load(target), "w1", "w2", "w3") == [54, 144, 20]


def test_named_nodes_keep_all_weights(tmp_path):
    path, target = convolutional(tmp_path / "net.onnx"), tmp_path / "sparse.onnx"
    compress(path, target, keep_dense=("last", "first"))
    assert zeros(onnx.load(target), "w1", "w2", "w3") == [0, 288, 0]
    with pytest.raises(InputError, match="keep_dense names 'lst'") as refused:
        compress(path, target, keep_dense=("lst",))
    assert "'last'" in refused.value.hint


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_integers_keep_the_zeros(tmp_path, share):
    path, sparse, target = convolutional(tmp_path / "net.onnx"), tmp_path / "sparse.onnx", tmp_path / "int8.onnx"
    compress(path, sparse, sparsity=share)
    known = CalibrationSet(data="random", count=4, seed=0, sha256="0" * 64)
    Int8().compress(Source(sparse, inspect(sparse), Calibration(X, known)), target)
    model = onnx.load(target)
    integers = [numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.INT8]
    weights = np.concatenate([array.ravel() for array in integers if array.ndim > 1])
    assert (weights == 0).mean() >= share
    exact = run(onnx.load(sparse), x=X)
    assert np.abs(run(model, x=X) - exact).max() < 0.1 * np.abs(exact).max()


def test_weights_of_constants_and_shared_ones_count_once(tmp_path):
    weight = RNG.standard_normal((6, 6)).astype(np.float32)
    nodes = [("MatMul", ["x", "w"], ["a"], {}), ("MatMul", ["w", "a"], ["b"], {}), ("MatMul", ["b", "k"], ["y"], {})]
    model = model_of(nodes, {"w": weight}, {"x": [6, 6]})
    value = numpy_helper.from_array(weight + 9, "another name")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["k"], name="constant", value=value))
    onnx.save(model, tmp_path / "net.onnx")
    outcome = compress(tmp_path / "net.onnx", tmp_path / "sparse.onnx")
    assert outcome.facts["zero_share"] == 0.5
    after = onnx.load(tmp_path / "sparse.onnx")
    assert zeros(after, "w") == [36]
    assert helper.get_attribute_value(after.graph.node[0].attribute[0]).name == "another name"


def test_of_equal_magnitudes_the_first_are_chosen():
    assert smallest(np.float32([1, -1, 1, 0, 2]), 0.5).tolist() == [True, True, False, True, False]
    assert smallest(np.float32([3, 2]), 0.01).tolist() == [False, False]


@pytest.mark.parametrize("sparsity", [0, 1, -0.1, float("nan"), "half"])
def test_impossible_shares_are_refused(sparsity):
    with pytest.raises(ValueError, match="sparsity"):
        Sparse(sparsity=sparsity)


def test_models_without_weights_and_with_broken_ones_are_refused(tmp_path):
    onnx.save(model_of([("Relu", ["x"], ["y"], {})], {}, {"x": ["n", 4]}), tmp_path / "relu.onnx")
    with pytest.raises(InputError, match="no convolution"):
        compress(tmp_path / "relu.onnx", tmp_path / "sparse.onnx")
    broken = np.full((4, 4), np.nan, np.float32)
    onnx.save(model_of([("MatMul", ["x", "w"], ["y"], {})], {"w": broken}, {"x": ["n", 4]}), tmp_path / "nan.onnx")
    with pytest.raises(InputError, match="'w' are not finite"):
        compress(tmp_path / "nan.onnx", tmp_path / "sparse.onnx")
