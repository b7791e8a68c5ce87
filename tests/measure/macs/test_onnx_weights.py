import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.errors import InputError
from kdbench.measure.macs.onnx_weights import parameters_and_bytes


def save(folder, nodes, **arrays):
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 2, 4, 4))
    graph = helper.make_graph(nodes, "g", [x], [helper.make_empty_tensor_value_info("y")], stored)
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def test_weights_and_biases_count_statistics_and_constants_do_not(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"]),
        helper.make_node("Clip", ["n", "low", "high"], ["r"]),
        helper.make_node("Mul", ["r", "half"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["y"]),
    ]
    vectors = dict.fromkeys(("b", "scale", "shift", "mean", "var"), ones(3))
    scalars = {"low": np.float32(0), "high": np.float32(6), "half": np.float32(0.5), "shape": np.array([1, -1])}
    assert parameters_and_bytes(save(tmp_path, nodes, w=ones(3, 2, 1, 1), **vectors, **scalars)) == (6 + 3 + 6, 60)


def test_half_precision_and_constant_nodes(tmp_path):
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(ones(4, 5, dtype=np.float16)))
    assert parameters_and_bytes(save(tmp_path, [constant, helper.make_node("MatMul", ["x", "w"], ["y"])])) == (20, 40)


def test_quantized_weights_count_at_their_width(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["b32", "scale"], ["b"], axis=0),
        helper.make_node("Conv", ["x", "w", "b"], ["y"]),
    ]
    path = save(
        tmp_path,
        nodes,
        w8=ones(3, 2, 1, 1, dtype=np.int8),
        b32=ones(3, dtype=np.int32),
        scale=ones(3),
        zero=np.zeros(3, np.int8),
    )
    assert parameters_and_bytes(path) == (6 + 3, 6 + 12)


def test_a_tensor_used_twice_counts_once_and_an_unused_one_never(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    assert parameters_and_bytes(save(tmp_path, nodes, w=ones(4, 4), unused=ones(9))) == (16, 64)


def test_external_weights_are_counted_without_being_there(tmp_path):
    path = save(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], w=ones(4, 4))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    assert parameters_and_bytes(path) == (16, 64)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="is not an ONNX model"):
        parameters_and_bytes(path)
