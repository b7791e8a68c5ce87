"""What counts as a parameter, and the bytes of all weights."""

import numpy as np
import onnx
import onnxruntime
import pytest
from modelfile.graph_parts import graph_of, value
from onnx import TensorProto, helper, numpy_helper

from kdbench.errors import InputError
from kdbench.modelfile.facts import inspect


def test_external_weights_count_and_must_be_there(tmp_path):
    path = tmp_path / "m.onnx"
    stored = numpy_helper.from_array(np.ones((400, 10), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = graph_of([value("x", ["n", 400])], [value("y", ["n", 10])], nodes, [stored])
    onnx.save(model, path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    facts = inspect(path)
    assert facts.weight_bytes == 16_000
    assert facts.size_bytes == path.stat().st_size + (tmp_path / "m.onnx.data").stat().st_size > 16_000
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(InputError, match=r"m\.onnx\.data"):
        inspect(path)


@pytest.mark.parametrize("tensors", [1, 2])
def test_external_weights_that_are_cut_short(tmp_path, tensors):
    path, beside = tmp_path / "m.onnx", tmp_path / "m.onnx.data"
    names = [f"w{number}" for number in range(tensors)]
    stored = [numpy_helper.from_array(np.ones((400, 10), np.float32), name) for name in names]
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["y"])]
    model = graph_of([value("x", ["n", 400])], [value("y", ["n", 10])], nodes, stored)
    onnx.save(model, path, save_as_external_data=True, location=beside.name, size_threshold=0)
    whole = beside.read_bytes()
    for length in (0, 100, len(whole) - 1):
        beside.write_bytes(whole[:length])
        with pytest.raises(InputError, match=rf"m\.onnx\.data, which is cut short: {length} of at least {len(whole)}"):
            inspect(path)
    beside.write_bytes(whole)
    assert inspect(path).size_bytes == path.stat().st_size + len(whole)


def test_external_weights_whose_place_is_no_number(tmp_path):
    path = tmp_path / "m.onnx"
    stored = numpy_helper.from_array(np.ones((400, 10), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = graph_of([value("x", ["n", 400])], [value("y", ["n", 10])], nodes, [stored])
    onnx.save(model, path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    entries = model.graph.initializer[0].external_data
    next(entry for entry in entries if entry.key == "length").value = "all"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="'w'"):
        inspect(path)


def test_statistics_scales_and_shapes_are_no_parameters(tmp_path):
    path = tmp_path / "m.onnx"
    arrays = {
        "q": np.ones((5, 2), np.int8),
        "scale": np.float32(0.1),
        "zero": np.int8(0),
        "gamma": np.ones(2, np.float32),
        "beta": np.ones(2, np.float32),
        "mean": np.ones(2, np.float32),
        "var": np.ones(2, np.float32),
        "shape": np.array([-1, 2], np.int64),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("BatchNormalization", ["h", "gamma", "beta", "mean", "var"], ["z"]),
        helper.make_node("Reshape", ["z", "shape"], ["y"]),
    ]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    onnx.save(graph_of([value("x", ["n", 5])], [value("y", ["n", 2])], nodes, stored), path)
    facts = inspect(path)
    assert facts.parameters == 10 + 2 + 2
    assert facts.weight_bytes == sum(np.asarray(array).nbytes for array in arrays.values())


def test_weights_of_branches_count_and_sparse_ones_by_their_values(tmp_path):
    path = tmp_path / "m.onnx"
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("MatMul", ["x", f"{name}_w"], [name])],
            name,
            [],
            [value(name, ["n", 2])],
            [numpy_helper.from_array(np.ones((4, 2), np.float32), f"{name}_w")],
        )
        for name in ("then", "else")
    }
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["h"], **branches),
        helper.make_node("MatMul", ["h", "s"], ["y"]),
    ]
    model = graph_of([value("x", ["n", 4])], [value("y", ["n", 2])], nodes)
    values, places = (numpy_helper.from_array(np.array([1, 3], kind), "s") for kind in (np.float32, np.int64))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 2]))
    onnx.save(model, path)
    facts = inspect(path)
    assert facts.parameters == 2 * 8 + 2
    assert facts.weight_bytes == 1 + 2 * 8 * 4 + 2 * 4 + 2 * 8


def test_scales_and_zero_points_of_quantized_operators_are_no_parameters(tmp_path):
    path = tmp_path / "m.onnx"
    scalars = {name: np.float32(1) for name in ("xs", "ws", "ys")} | {name: np.uint8(0) for name in ("xz", "wz", "yz")}
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in scalars.items()]
    stored += [numpy_helper.from_array(np.ones((4, 2, 1, 1), np.uint8), "w")]
    stored += [numpy_helper.from_array(np.ones(4, np.int32), "b")]
    inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    nodes = [helper.make_node("QLinearConv", inputs, ["y"])]
    images = value("x", ["n", 2, 3, 3], TensorProto.UINT8)
    onnx.save(graph_of([images], [value("y", ["n", 4, 3, 3], TensorProto.UINT8)], nodes, stored), path)
    assert inspect(path).parameters == 4 * 2 + 4


@pytest.mark.parametrize(
    ("kind", "size"), [("INT4", 4), ("UINT4", 4), ("FLOAT4E2M1", 4), ("INT8", 7), ("BFLOAT16", 14), ("DOUBLE", 56)]
)
def test_bytes_of_every_width(tmp_path, kind, size):
    path = tmp_path / "m.onnx"
    stored = TensorProto(name="w", data_type=TensorProto.DataType.Value(kind), dims=[7], raw_data=bytes(size))
    onnx.save(graph_of([value("x", ["n", 7])], [value("y", ["n", 7])], stored=[stored]), path)
    assert inspect(path).weight_bytes == size


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"raw_data": b"123"}, "'w' holds 3 bytes, and its shape needs 28"),
        ({"raw_data": None}, "'w' holds 0 numbers, and its shape needs 7"),
        ({"raw_data": None, "float_data": [1.0] * 6}, "'w' holds 6 numbers, and its shape needs 7"),
        ({"data_type": 77}, "element type of .w. .77."),
    ],
)
def test_a_tensor_that_is_not_what_it_says(tmp_path, damage, message):
    path = tmp_path / "m.onnx"
    whole = {"name": "w", "data_type": TensorProto.FLOAT, "dims": [7], "raw_data": bytes(28)}
    onnx.save(graph_of([value("x", ["n", 7])], [value("y", ["n", 7])], stored=[TensorProto(**whole | damage)]), path)
    with pytest.raises(InputError, match=message):
        inspect(path)


def test_weights_in_attributes_count(tmp_path):
    """A linear model as scikit-learn's converter writes it: coefficients and intercepts are lists of attributes."""
    node = helper.make_node(
        "LinearClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml",
        coefficients=[0.5] * 30, intercepts=[0.1] * 3, classlabels_ints=[0, 1, 2],
    )  # fmt: skip
    outputs = [value("label", ["n"], TensorProto.INT64), value("y", ["n", 3])]
    onnx.save(graph_of([value("x", ["n", 10])], outputs, [node]), tmp_path / "m.onnx")
    facts = inspect(tmp_path / "m.onnx", classes=3)
    assert (facts.output.name, facts.parameters, facts.weight_bytes) == ("y", 33, 4 * 33 + 8 * 3)


def test_a_constant_list_of_floats_counts(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0]),
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["y"]),
    ]
    onnx.save(graph_of([value("x", ["n", 2])], [value("y", ["n", 2])], nodes), tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").parameters == 2


def test_numbers_of_formulas_are_no_parameters(tmp_path):
    """A GELU that is written out has 0.5 and the square root of 2, and a joined output has a scale."""
    arrays = {"w": np.ones((3, 3), np.float32), "b": np.ones(1, np.float32), "s": np.float32(0.1), "z": np.uint8(3)}
    arrays |= {"half": np.float32(0.5), "root": np.float32(2**0.5)}
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Div", ["h", "root"], ["d"]),
        helper.make_node("Mul", ["d", "half"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
        helper.make_node("QLinearConcat", ["s", "z", "q", "qs", "qz"], ["c"], domain="com.microsoft", axis=1),
    ]
    onnx.save(graph_of([value("x", ["n", 3])], [value("y", ["n", 3])], nodes, stored), tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").parameters == 3 * 3 + 1


def test_constants_that_the_input_is_normalised_with_are_no_parameters(tmp_path):
    """A learned number for each channel, or a sum with as many numbers as the input has, is one."""
    arrays = {name: np.ones((3, 1, 1), np.float32) for name in ("mean", "std", "gamma")}
    arrays |= {"positions": np.ones((3, 4, 4), np.float32), "scale": np.ones(1, np.float32)}
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["of_255"]),
        helper.make_node("Sub", ["of_255", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normalised"]),
        helper.make_node("Add", ["normalised", "positions"], ["placed"]),
        helper.make_node("Mul", ["placed", "gamma"], ["y"]),
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    shape = ["n", 3, 4, 4]
    onnx.save(graph_of([value("x", shape)], [value("y", shape)], nodes, stored), tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").parameters == 3 * 4 * 4 + 3


def microsoft(path, nodes, stored, x, y):
    model = graph_of([x], [y], nodes, [numpy_helper.from_array(array, name) for name, array in stored.items()])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    return inspect(path), onnxruntime.InferenceSession(path)


def test_weights_of_four_bits_in_bytes_count_once_each(tmp_path):
    """MatMulBnb4 (bitsandbytes) holds two weights in a byte, and one scale for each block."""
    packed, scales = np.zeros(64 * 16 // 2, np.uint8), np.ones(64 * 16 // 32, np.float32)
    node = helper.make_node(
        "MatMulBnb4", ["x", "w", "s"], ["y"], domain="com.microsoft", K=64, N=16, block_size=32, quant_type=1
    )
    x, y = value("x", ["n", 64]), value("y", ["n", 16])
    facts, session = microsoft(tmp_path / "m.onnx", [node], {"w": packed, "s": scales}, x, y)
    (outputs,) = session.run(None, {"x": np.ones((1, 64), np.float32)})
    assert (facts.parameters, facts.weight_bytes) == (64 * outputs.shape[1], packed.nbytes + scales.nbytes)
    assert facts.quantized == ("MatMulBnb4",)


def test_indices_of_32_bits_are_no_parameters(tmp_path):
    """As Keras' tables of relative positions, which another table is read with."""
    stored = {"table": np.ones((9, 4), np.float32), "positions": np.arange(16, dtype=np.int32) % 9}
    stored |= {"starts": np.array([0], np.int32), "ends": np.array([4], np.int32)}
    nodes = [
        helper.make_node("Gather", ["table", "positions"], ["bias"]),
        helper.make_node("Slice", ["bias", "starts", "ends"], ["part"]),
        helper.make_node("Add", ["x", "part"], ["y"]),
    ]
    x, y = value("x", ["n", 4, 4]), value("y", ["n", 4, 4])
    facts, _ = microsoft(tmp_path / "m.onnx", nodes, stored, x, y)
    assert facts.parameters == stored["table"].size


def test_sines_and_cosines_of_rotary_positions_are_no_parameters(tmp_path):
    angles = np.arange(16)[:, None] / 100.0 ** (np.arange(4) / 4)
    stored = {"ids": np.arange(8)[None], "cos": np.cos(angles).astype("f4"), "sin": np.sin(angles).astype("f4")}
    stored |= {"w": np.ones((8, 8), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["q"]),
        helper.make_node("RotaryEmbedding", ["q", "ids", "cos", "sin"], ["y"], domain="com.microsoft"),
    ]
    x, y = value("x", [1, 8, 8]), value("y", [1, 8, 8])
    facts, session = microsoft(tmp_path / "m.onnx", nodes, stored, x, y)
    (turned,) = session.run(None, {"x": np.ones((1, 8, 8), np.float32)})
    np.testing.assert_allclose(turned[0, :, :4], 8 * (stored["cos"] - stored["sin"])[:8], rtol=1e-4, atol=1e-5)
    assert facts.parameters == stored["w"].size


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantized_table_of_embeddings_counts_its_rows(tmp_path, bits):
    table, scales = np.zeros((10, 32), np.uint8), np.ones((10, 32 * 8 // bits // 16), np.float32)
    node = helper.make_node(
        "GatherBlockQuantized", ["table", "x", "s"], ["y"], domain="com.microsoft",
        bits=bits, block_size=16, gather_axis=0, quantize_axis=1,
    )  # fmt: skip
    x, y = value("x", ["n", 10], TensorProto.INT64), value("y", ["n", 10, 32 * 8 // bits])
    facts, session = microsoft(tmp_path / "m.onnx", [node], {"table": table, "s": scales}, x, y)
    (rows,) = session.run(None, {"x": np.arange(10)[None]})
    assert facts.parameters == rows.size
    assert facts.quantized == ("GatherBlockQuantized",)


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_constants_count_by_both_names_of_the_standards_domain(tmp_path, domain):
    weight = numpy_helper.from_array(np.ones((64, 16), np.float32))
    nodes = [
        helper.make_node("Constant", [], ["w"], domain=domain, value=weight),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    facts, session = microsoft(tmp_path / "m.onnx", nodes, {}, value("x", ["n", 64]), value("y", ["n", 16]))
    assert (session.run(None, {"x": np.ones((1, 64), np.float32)})[0] == 64).all()
    assert (facts.parameters, facts.weight_bytes) == (64 * 16, 4 * 64 * 16)
