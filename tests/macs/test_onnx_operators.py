"""Operators one by one, as onnxruntime takes them: their MACs by hand, their shapes as the runtime gives them."""

from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.macs.onnx_counter import count_graph, count_onnx
from kdbench.macs.onnx_graph import load_graph
from kdbench.macs.onnx_shapes import infer

MS, ML = "com.microsoft", "ai.onnx.ml"
B, L, S, D, H = 1, 6, 5, 8, 2  # batch, length, keys, width, heads


def f(*shape):
    return np.ones(shape, np.float32)


def u8(*shape):
    return np.ones(shape, np.uint8)


ONE, ZERO = np.float32(1), np.uint8(0)
Q = {"xs": ONE, "xz": ZERO}  # the scale and zero point of "x"


def save(path: Path, op: str, inputs: dict[str, np.ndarray], fed: int = 1, outputs: int = 1, domain: str = "", **more):
    """Write a graph of one node: the first `fed` of `inputs` are fed, the others stored."""
    names = [name if not name.startswith("_") else "" for name in inputs]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], name="it", domain=domain, **more)
    arrays = {name: value for name, value in inputs.items() if not name.startswith("_")}
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in list(arrays.items())[:fed]
    ]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in list(arrays.items())[fed:]]
    results = [helper.make_empty_tensor_value_info("y0")]
    graph = helper.make_graph([node], "g", values, results, stored)
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid(MS, 1), helper.make_opsetid(ML, 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return dict(list(arrays.items())[:fed])


def weights(gates: int, hidden: int, directions: int = 1) -> dict[str, np.ndarray]:
    return {"w": f(directions, gates * hidden, D), "r": f(directions, gates * hidden, hidden)}


OPERATORS = {
    "FusedMatMul, swapped": (
        ("FusedMatMul", {"a": f(2, 4, 3), "b": f(2, 5, 4)}, 1, {"domain": MS, "transA": 1, "transB": 1}),
        2 * 3 * 4 * 5,
    ),
    "FusedMatMul, batch turned": (
        ("FusedMatMul", {"a": f(3, 2, 4), "b": f(4, 2, 5)}, 1, {"domain": MS, "transBatchA": 1, "transBatchB": 1}),
        2 * 3 * 4 * 5,
    ),
    "FusedMatMul, batch turned and swapped": (
        ("FusedMatMul", {"a": f(4, 2, 3), "b": f(2, 4, 5)}, 1, {"domain": MS, "transBatchA": 1, "transA": 1}),
        2 * 3 * 4 * 5,
    ),
    "MatMulNBits": (
        (
            "MatMulNBits",
            {"a": f(1, 3, 32), "b": u8(7, 2, 8), "s": f(14)},
            1,
            {"domain": MS, "K": 32, "N": 7, "bits": 4, "block_size": 16},
        ),
        3 * 32 * 7,
    ),
    "DynamicQuantizeMatMul": (
        ("DynamicQuantizeMatMul", {"a": f(1, 3, 4), "b": u8(4, 5), "s": ONE, "z": ZERO}, 1, {"domain": MS}),
        3 * 4 * 5,
    ),
    "MatMulIntegerToFloat": (
        ("MatMulIntegerToFloat", {"a": u8(1, 3, 4), "b": u8(4, 5), "s": ONE, "t": ONE}, 1, {"domain": MS}),
        3 * 4 * 5,
    ),
    "QLinearMatMul": (
        (
            "QLinearMatMul",
            {"a": u8(1, 3, 4), "s": ONE, "z": ZERO, "b": u8(4, 5), "t": ONE, "q": ZERO, "u": ONE, "o": ZERO},
            1,
            {},
        ),
        3 * 4 * 5,
    ),
    "QLinearConv, channels last": (
        (
            "QLinearConv",
            {"x": u8(1, 7, 9, 4), **Q, "w": u8(6, 2, 3, 2), "ws": ONE, "wz": ZERO, "ys": ONE, "yz": ZERO},
            1,
            {"domain": MS, "channels_last": 1, "group": 2, "kernel_shape": [3, 2], "strides": [2, 1]},
        ),
        3 * 8 * 6 * 2 * 3 * 2,
    ),
    "QLinearAveragePool, channels last": (
        (
            "QLinearAveragePool",
            {"x": u8(1, 7, 9, 4), **Q, "ys": ONE, "yz": ZERO},
            1,
            {"domain": MS, "channels_last": 1, "kernel_shape": [3, 2]},
        ),
        0,
    ),
    "QLinearGlobalAveragePool, channels last": (
        (
            "QLinearGlobalAveragePool",
            {"x": u8(1, 7, 9, 4), **Q, "ys": ONE, "yz": ZERO},
            1,
            {"domain": MS, "channels_last": 1},
        ),
        0,
    ),
    "NhwcMaxPool": (
        ("NhwcMaxPool", {"x": u8(1, 7, 9, 4)}, 1, {"domain": MS, "kernel_shape": [3, 2], "strides": [1, 2]}),
        0,
    ),
    "Attention, heads apart": (
        ("Attention", {"q": f(B, 4, L, 3), "k": f(B, 2, S, 3), "v": f(B, 2, S, 7)}, 3, {}),
        4 * L * S * (3 + 7),
    ),
    "Attention, heads together": (
        ("Attention", {"q": f(B, L, D), "k": f(B, S, D), "v": f(B, S, D)}, 3, {"q_num_heads": 2, "kv_num_heads": 2}),
        2 * L * S * D,
    ),
    "Attention, with a past": (
        (
            "Attention",
            {
                "q": f(B, H, L, 4),
                "k": f(B, H, S, 4),
                "v": f(B, H, S, 4),
                "_": f(),
                "past_k": f(B, H, 9, 4),
                "past_v": f(B, H, 9, 4),
            },
            5,
            {"outputs": 3},
        ),
        2 * L * (S + 9) * D,
    ),
    "onnxruntime's Attention": (
        ("Attention", {"x": f(B, L, D), "w": f(D, 3 * D), "b": f(3 * D)}, 1, {"domain": MS, "num_heads": H}),
        L * D * 3 * D + 2 * L * L * D,
    ),
    "onnxruntime's Attention, widths of its own": (
        (
            "Attention",
            {"x": f(B, L, D), "w": f(D, 20), "b": f(20)},
            1,
            {"domain": MS, "num_heads": H, "qkv_hidden_sizes": [6, 6, 8]},
        ),
        L * D * 20 + L * L * (6 + 8),
    ),
    "QAttention": (
        (
            "QAttention",
            {"x": u8(B, L, D), "w": u8(D, 3 * D), "b": f(3 * D), "s": ONE, "t": ONE, "_": f(), "z": ZERO, "q": ZERO},
            1,
            {"domain": MS, "num_heads": H},
        ),
        L * D * 3 * D + 2 * L * L * D,
    ),
    "MultiHeadAttention": (
        ("MultiHeadAttention", {"q": f(B, L, D), "k": f(B, S, D), "v": f(B, S, 12)}, 3, {"domain": MS, "num_heads": H}),
        L * S * (D + 12),
    ),
    "MultiHeadAttention, key and value by head": (
        (
            "MultiHeadAttention",
            {"q": f(B, L, D), "k": f(B, H, S, 4), "v": f(B, H, S, 4)},
            3,
            {"domain": MS, "num_heads": H},
        ),
        2 * L * S * D,
    ),
    "GroupQueryAttention": (
        (
            "GroupQueryAttention",
            {
                "q": f(B, L, 32),
                "k": f(B, L, 16),
                "v": f(B, L, 16),
                "_k": f(),
                "_v": f(),
                "lengths": np.array([L - 1], np.int32),
                "total": np.array(L, np.int32),
            },
            3,
            {"domain": MS, "num_heads": 4, "kv_num_heads": 2, "outputs": 3},
        ),
        2 * L * L * 32,
    ),
    "LSTM": (("LSTM", {"x": f(L, B, D), **weights(4, 3)}, 1, {"hidden_size": 3}), L * 4 * 3 * (D + 3)),
    "LSTM, both ways": (
        ("LSTM", {"x": f(L, B, D), **weights(4, 3, 2)}, 1, {"hidden_size": 3, "direction": "bidirectional"}),
        2 * L * 4 * 3 * (D + 3),
    ),
    "LSTM, of full lengths": (
        ("LSTM", {"x": f(L, B, D), **weights(4, 3), "_b": f(), "n": np.array([L], np.int32)}, 1, {"hidden_size": 3}),
        L * 4 * 3 * (D + 3),
    ),
    "GRU": (("GRU", {"x": f(L, B, D), **weights(3, 3)}, 1, {"hidden_size": 3}), L * 3 * 3 * (D + 3)),
    "RNN": (("RNN", {"x": f(L, B, D), **weights(1, 3)}, 1, {"hidden_size": 3}), L * 3 * (D + 3)),
    "DynamicQuantizeLSTM": (
        (
            "DynamicQuantizeLSTM",
            {
                "x": f(L, B, D),
                "w": u8(1, D, 12),
                "r": u8(1, 3, 12),
                "_b": f(),
                "_n": f(),
                "_h": f(),
                "_c": f(),
                "_p": f(),
                "ws": f(1),
                "wz": u8(1),
                "rs": f(1),
                "rz": u8(1),
            },
            1,
            {"domain": MS, "hidden_size": 3},
        ),
        L * 4 * 3 * (D + 3),
    ),
    "DeformConv": (
        (
            "DeformConv",
            {"x": f(B, 4, 8, 8), "w": f(6, 2, 3, 3), "o": f(B, 18, 8, 8)},
            1,
            {"group": 2, "pads": [1, 1, 1, 1]},
        ),
        8 * 8 * 6 * 2 * 9,
    ),
    "Einsum of three": (
        ("Einsum", {"a": f(1, 2, 3), "b": f(3, 4), "c": f(4, 5)}, 1, {"equation": "...ij,jk,kl->...il"}),
        2 * 3 * 4 + 2 * 4 * 5,
    ),
}


@pytest.mark.parametrize("which", OPERATORS)
def test_operators_count_and_have_the_runtimes_shape(which, tmp_path):
    import onnxruntime

    (op, inputs, fed, more), macs = OPERATORS[which]
    path = tmp_path / "model.onnx"
    feeds = save(path, op, inputs, fed=fed, **more)
    model = load_graph(path)
    known, _ = infer(model, None)
    tally = count_graph(model, model.graph, known)  # of all there is: the first axis is not always the batch
    assert (tally.macs, tally.uncounted) == (macs, [])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert known.shapes["y0"] == session.run(["y0"], feeds)[0].shape


@pytest.mark.parametrize(
    ("op", "attributes", "macs"),
    [
        ("LinearClassifier", {"intercepts": [0.0] * 3, "classlabels_ints": [0, 1, 2]}, L * D * 3),
        ("LinearRegressor", {"intercepts": [0.0] * 3, "targets": 3}, L * D * 3),
        ("Scaler", {"offset": [0.0], "scale": [1.0]}, 0),
    ],
)
def test_linear_layers_of_classical_models_count(op, attributes, macs, tmp_path):
    coefficients = {"coefficients": [1.0] * D * 3} if macs else {}
    save(tmp_path / "model.onnx", op, {"x": f(L, D)}, outputs=2 if macs else 1, domain=ML, **coefficients, **attributes)
    model = load_graph(tmp_path / "model.onnx")
    tally = count_graph(model, model.graph, infer(model, None)[0])
    assert (tally.macs, tally.uncounted) == (macs, [])


def test_layers_behind_features_count_and_trees_do_not(tmp_path):
    nodes = [
        helper.make_node("Scaler", ["x"], ["scaled"], domain=ML, offset=[0.0], scale=[1.0]),
        helper.make_node("MatMul", ["scaled", "w"], ["h"]),
        helper.make_node("Normalizer", ["h"], ["n"], domain=ML, norm="L1"),
        helper.make_node("MatMul", ["n", "v"], ["y0"]),
        helper.make_node("ArgMax", ["y0"], ["best"], axis=1),
        helper.make_node("ArrayFeatureExtractor", ["names", "best"], ["label"], domain=ML),
        helper.make_node("TreeEnsembleRegressor", ["h"], ["y1"], domain=ML),
    ]
    stored = {"w": f(D, 7), "v": f(7, 3), "names": np.arange(3)}
    graph = helper.make_graph(
        nodes,
        "pipeline",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", D])],
        [helper.make_empty_tensor_value_info(name) for name in ("y0", "label", "y1")],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "model.onnx")
    report = count_onnx(tmp_path / "model.onnx")
    assert (report.macs, report.uncounted) == (D * 7 + 7 * 3, ("ai.onnx.ml::TreeEnsembleRegressor",))


def test_sequences_of_unknown_lengths_are_listed(tmp_path):
    inputs = {"n": np.array([L], np.int32), "x": f(L, B, D), **weights(4, 3), "_b": f()}
    names = ["x", "w", "r", "", "n"]
    save(tmp_path / "model.onnx", "LSTM", inputs, fed=2, hidden_size=3)
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.node[0].input[:] = names
    onnx.save(model, tmp_path / "model.onnx")
    report = count_onnx(tmp_path / "model.onnx")
    assert (report.macs, report.uncounted) == (0, ("LSTM (in a form without a formula)",))


@pytest.mark.parametrize("form", ["function", "inlined"])
def test_local_functions_count_as_what_they_stand_for(form, tmp_path):
    dense = helper.make_function(
        "local",
        "Dense",
        ["a", "b"],
        ["c"],
        [helper.make_node("MatMul", ["a", "b"], ["m"]), helper.make_node("Relu", ["m"], ["c"])],
        [helper.make_opsetid("", 17)],
    )
    nodes = [
        helper.make_node("Dense", ["x", "w"], ["h"], domain="local"),
        helper.make_node("Dense", ["h", "v"], ["y"], domain="local"),
    ]
    stored = [numpy_helper.from_array(f(8, 5), "w"), numpy_helper.from_array(f(5, 3), "v")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_empty_tensor_value_info("y")],
        stored,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[dense])
    onnx.save(onnx.inliner.inline_local_functions(model) if form == "inlined" else model, tmp_path / "model.onnx")
    report = count_onnx(tmp_path / "model.onnx")
    assert (report.macs, report.uncounted) == (8 * 5 + 5 * 3, ())
