import numpy as np
import onnx
import pytest
from compress.networks import convolutional
from small_graphs import model_of, run, stored

from kdbench.compress import COMPRESSORS, Source
from kdbench.compress.methods.fp16 import Fp16, to_float16, too_large
from kdbench.errors import InputError
from kdbench.modelfile.facts import inspect

RNG = np.random.default_rng(3)
X = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)


def compress(path, target, **settings):
    return Fp16(**settings).compress(Source(path, inspect(path)), target)


def changed(path, name, position, value):
    """Write another value into a stored tensor."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            array = stored(model, name).copy()
            array.flat[position] = value
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, path)
    return path


def test_a_file_of_half_the_size_answers_alike(tmp_path):
    path, target = convolutional(tmp_path / "net.onnx"), tmp_path / "half.onnx"
    outcome = compress(path, target)
    model = onnx.load(target)
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    assert floats == []
    np.testing.assert_array_equal(stored(model, "w1"), stored(onnx.load(path), "w1").astype(np.float16))
    kinds = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    assert kinds == {onnx.TensorProto.FLOAT}
    facts, before = inspect(target), inspect(path)
    assert facts.weight_bytes < 0.6 * before.weight_bytes
    assert facts.parameters == before.parameters
    np.testing.assert_allclose(run(model, x=X), run(onnx.load(path), x=X), atol=5e-3)
    assert any("casts" in line for line in outcome.warnings)  # convolutions have no float16 kernel on a CPU
    assert COMPRESSORS.get("fp16") is Fp16


def test_the_same_bytes_each_time(tmp_path):
    path = convolutional(tmp_path / "net.onnx")
    written = []
    for name in ("a.onnx", "b.onnx"):
        compress(path, tmp_path / name)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_nodes_are_in_order(tmp_path):
    half = to_float16(onnx.load(convolutional(tmp_path / "net.onnx")))
    known = {value.name for value in half.graph.input} | {tensor.name for tensor in half.graph.initializer}
    for node in half.graph.node:
        assert set(node.input) <= known
        known.update(node.output)


def test_large_weights_are_refused_or_clamped(tmp_path):
    path = changed(convolutional(tmp_path / "net.onnx"), "w3", 0, -70000)
    with pytest.raises(InputError, match="w3 exceed 65504") as caught:
        compress(path, tmp_path / "half.onnx")
    assert "fp16.overflow=clamp" in caught.value.hint
    assert not (tmp_path / "half.onnx").exists()
    outcome = compress(path, tmp_path / "half.onnx", overflow="clamp")
    assert stored(onnx.load(tmp_path / "half.onnx"), "w3").flat[0] == -65504
    assert outcome.facts["clamped"] == ["w3"]
    assert "w3" in outcome.warnings[0]


@pytest.mark.parametrize(("value", "large"), [(65504, False), (65505, True), (-65520, True), (np.inf, False)])
def test_what_exceeds_float16(value, large):
    model = model_of([("Add", ["x", "w"], ["y"], {})], {"w": np.float32([1, value])}, {"x": ["n", 2]})
    assert too_large(model) == (["w"] if large else [])


def test_activations_beyond_float16_are_refused(tmp_path):
    path = convolutional(tmp_path / "net.onnx")
    for name, position in (("w1", 0), ("w2", 0)):
        changed(path, name, position, 60000)
    with pytest.raises(InputError, match="Conv computes"):
        compress(path, tmp_path / "half.onnx")


def test_a_mask_of_the_lowest_float_can_be_clamped(tmp_path):
    nodes = [("Where", ["condition", "x", "lowest"], ["m"], {}), ("Softmax", ["m"], ["y"], {})]
    weights = {"condition": np.array([True, False, True]), "lowest": np.finfo(np.float32).min}
    model = model_of(nodes, weights, {"x": ["n", 3]})
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["n", 3]))
    onnx.save(model, tmp_path / "net.onnx")
    compress(tmp_path / "net.onnx", tmp_path / "half.onnx", overflow="clamp")
    x = np.zeros((1, 3), np.float32)
    np.testing.assert_allclose(run(onnx.load(tmp_path / "half.onnx"), x=x), [[0.5, 0, 0.5]])


def test_a_float16_file_is_refused(tmp_path):
    path = convolutional(tmp_path / "net.onnx")
    compress(path, tmp_path / "half.onnx")
    with pytest.raises(InputError, match="float16"):
        compress(tmp_path / "half.onnx", tmp_path / "quarter.onnx")


def test_weights_that_are_inputs_too_become_float16(tmp_path):
    path = convolutional(tmp_path / "net.onnx")
    model = onnx.load(path)
    for tensor in model.graph.initializer:  # as files of IR version 3 have them
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(model, path)
    compress(path, tmp_path / "half.onnx")
    half = onnx.load(tmp_path / "half.onnx")
    assert {tensor.data_type for tensor in half.graph.initializer} == {onnx.TensorProto.FLOAT16}


def test_a_model_that_computes_indices_from_pixels_is_not_checked_on_noise(tmp_path):
    nodes = [
        ("Mul", ["x", "levels"], ["scaled"], {}),
        ("Cast", ["scaled"], ["indices"], {"to": onnx.TensorProto.INT64}),
        ("Gather", ["table", "indices"], ["rows"], {"axis": 0}),
        ("ReduceMean", ["rows"], ["y"], {"axes": [1], "keepdims": 0}),
    ]
    weights = {"levels": np.float32(255), "table": RNG.standard_normal((256, 10)).astype(np.float32)}
    path, target = tmp_path / "net.onnx", tmp_path / "half.onnx"
    onnx.save(model_of(nodes, weights, {"x": ["n", 64]}), path)
    compress(path, target)
    pixels = RNG.integers(0, 256, (4, 64)).astype(np.float32) / 256
    np.testing.assert_allclose(run(target, x=pixels), run(path, x=pixels), atol=5e-3)
    assert stored(onnx.load(target), "table").dtype == np.float16


def test_an_operator_without_a_float16_form_in_a_branch_is_refused(tmp_path):
    def branch(name):
        node = onnx.helper.make_node("Celu", ["x"], [name])
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        return onnx.helper.make_graph([node], name, [], [value])

    nodes = [
        ("ReduceSum", ["x"], ["s"], {"keepdims": 0}),
        ("Greater", ["s", "zero"], ["positive"], {}),
        ("If", ["positive"], ["y"], {"then_branch": branch("yes"), "else_branch": branch("no")}),
    ]
    path = tmp_path / "net.onnx"
    onnx.save(model_of(nodes, {"zero": np.float32(0)}, {"x": [2, 8]}), path)
    assert run(path, x=X[0, 0, :2]).shape == (2, 8)
    with pytest.raises(InputError, match=r"float16 form .* \(Celu\)") as caught:
        compress(path, tmp_path / "half.onnx")
    assert "int8" in caught.value.hint


def test_the_checked_input_is_that_of_the_samples(tmp_path):
    nodes = [
        ("Shape", ["unused"], ["s"], {}),
        ("Mul", ["x", "large"], ["h"], {}),
        ("Relu", ["h"], ["r"], {}),
        ("Mul", ["r", "large"], ["l"], {}),
        ("Sigmoid", ["l"], ["y"], {}),
    ]
    path, target = tmp_path / "net.onnx", tmp_path / "half.onnx"
    inputs = {"unused": ["n", 64], "x": ["n", 64]}
    onnx.save(model_of(nodes, {"large": np.float32(60000)}, inputs), path)
    with pytest.raises(InputError, match="is the largest float16"):
        compress(path, target)


def test_a_file_that_is_not_smaller_gets_a_warning(tmp_path):
    small, large = tmp_path / "small.onnx", tmp_path / "large.onnx"
    for path, width in ((small, 1), (large, 512)):
        weights = {"w": RNG.random((8, width), np.float32)}
        onnx.save(model_of([("MatMul", ["x", "w"], ["y"], {})], weights, {"x": ["n", 8]}), path)
    lines = [compress(path, path.with_suffix(".half")).warnings for path in (small, large)]
    assert [any("not smaller" in line for line in warnings) for warnings in lines] == [True, False]
