"""Graphs that exporters write and quantizers stumble on: each file answers as its source does, or is refused."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_graphs import model_of, run, stored

from kdbench.compress import COMPRESSORS, Calibration, Source
from kdbench.compress.kernels import kernels_of
from kdbench.errors import InputError
from kdbench.macs.onnx_counter import count_onnx
from kdbench.modelfile.facts import inspect, read_facts
from kdbench.results.cards import CalibrationSet

RNG = np.random.default_rng(7)
X = RNG.standard_normal((24, 64)).astype(np.float32)
KNOWN = CalibrationSet(data="noise", count=24, seed=0, sha256="0" * 64)
CLASSICAL = "ai.onnx.ml"
METHODS = ("int8", "int8-dynamic", "int4", "fp16", "sparse")
MIN_DB = {"int8": 25, "int8-dynamic": 25, "int4": 12, "fp16": 50, "sparse": 3}


def normal(*shape):
    return (RNG.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def saved(path, nodes, weights, domains=(), **keywords):
    model = model_of(nodes, weights, {"x": ["n", 64]}, **keywords)
    model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in domains)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10]))
    onnx.save(model, path)
    return path


def compress(path, method, **settings):
    target = path.with_name(f"{path.stem}-{method}.onnx")
    outcome = COMPRESSORS.get(method)(**settings).compress(Source(path, inspect(path), Calibration(X, KNOWN)), target)
    return target, outcome


def decibels(path, target):
    exact, changed = (run(onnx.load(file), x=X).astype(float) for file in (path, target))
    error = np.sum((exact - changed) ** 2)
    return 10 * np.log10(np.sum(exact**2) / error) if error else np.inf


def factors(path):
    nodes = [
        ("Gemm", ["x", "w", "b"], ["h"], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
        ("Relu", ["h"], ["r"], {}),
        ("Gemm", ["r", "v", "c"], ["y"], {"beta": 0.25}),
    ]
    weights = {"w": normal(32, 64), "b": normal(32) * 4, "v": normal(32, 10), "c": normal(10) * 4}
    return saved(path, nodes, weights)


def reserved_names(path):
    """Name tensors and nodes as onnxruntime's quantizer names what belongs to other tensors."""
    nodes = [
        ("MatMul", ["x", "w"], ["x_quantized"], {}),
        ("Relu", ["x_quantized"], ["w_quantized"], {}),
        ("Add", ["w_quantized", "y_scale"], ["y_zero_point"], {}),
        ("MatMul", ["y_zero_point", "v"], ["y"], {}),
    ]
    saved(path, nodes, {"w": normal(64, 32), "v": normal(32, 10), "y_scale": normal(32)})
    model = onnx.load(path)
    model.graph.node[0].name, model.graph.node[3].name = "x_QuantizeLinear", "y_DequantizeLinear"
    onnx.save(model, path)
    return path


def rearranged(path):
    nodes = [
        ("Transpose", ["wt"], ["w"], {"perm": [1, 0]}),
        ("MatMul", ["x", "w"], ["h"], {}),
        ("Relu", ["h"], ["r"], {}),
        ("Identity", ["vi"], ["v"], {}),
        ("MatMul", ["r", "v"], ["y"], {}),
    ]
    return saved(path, nodes, {"wt": normal(32, 64), "vi": normal(32, 10)})


def computed_weights(path):
    """Compute the weights of a layer from others, and declare their shape, as torch does."""
    nodes = [
        ("Neg", ["negative"], ["w"], {}),
        ("Gemm", ["x", "w"], ["h"], {"transB": 1}),
        ("Relu", ["h"], ["r"], {}),
        ("MatMul", ["r", "v"], ["y"], {}),
    ]
    saved(path, nodes, {"negative": normal(32, 64), "v": normal(32, 10)})
    model = onnx.load(path)
    model.graph.value_info.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [32, 64]))
    onnx.save(model, path)
    return path


def of_old_version(path):
    """Write IR version 3, opset 9, where weights are inputs too."""
    nodes = [
        ("Gemm", ["x", "w", "b"], ["h"], {"transB": 1}),
        ("Relu", ["h"], ["r"], {}),
        ("MatMul", ["r", "v"], ["y"], {}),
    ]
    model = onnx.load(saved(path, nodes, {"w": normal(32, 64), "b": normal(32), "v": normal(32, 10)}, opset=9))
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    onnx.save(model, path)
    return path


def with_float64(path):
    nodes = [
        ("MatMul", ["x", "w"], ["h"], {}),
        ("Cast", ["h"], ["d"], {"to": TensorProto.DOUBLE}),
        ("MatMul", ["d", "v"], ["e"], {}),
        ("Cast", ["e"], ["y"], {"to": TensorProto.FLOAT}),
    ]
    return saved(path, nodes, {"w": normal(64, 32), "v": normal(32, 10).astype(np.float64)})


def behind_other_domains(path):
    """Write layers behind operators that onnx's shape inference does not know, as scikit-learn's pipelines have."""
    nodes = [
        ("Scaler", ["x"], ["scaled"], {"domain": CLASSICAL, "offset": [0.5] * 64, "scale": [2.0] * 64}),
        ("MatMul", ["scaled", "w"], ["h"], {}),
        ("QuickGelu", ["h"], ["g"], {"domain": "com.microsoft"}),
        ("MatMul", ["g", "v"], ["y"], {}),
    ]
    return saved(path, nodes, {"w": normal(64, 32), "v": normal(32, 10)}, domains=(CLASSICAL, "com.microsoft"))


def constants(path):
    """Write the numbers of Constant nodes as numbers and lists, not as tensors."""
    nodes = [
        ("Constant", [], ["b"], {"value_floats": normal(32).tolist()}),
        ("Constant", [], ["c"], {"value_float": 0.5}),
        ("MatMul", ["x", "w"], ["h"], {}),
        ("Add", ["h", "b"], ["i"], {}),
        ("Mul", ["i", "c"], ["j"], {}),
        ("MatMul", ["j", "v"], ["y"], {}),
    ]
    return saved(path, nodes, {"w": normal(64, 32), "v": normal(32, 10)})


def transposed_groups(path):
    """Write a transposed convolution of two groups, whose bias has more values than its weights have on axis 1."""
    nodes = [
        ("Reshape", ["x", "image"], ["i"], {}),
        ("ConvTranspose", ["i", "w", "b"], ["h"], {"group": 2, "strides": [2], "kernel_shape": [2]}),
        ("Relu", ["h"], ["r"], {}),
        ("Flatten", ["r"], ["f"], {}),
        ("Gemm", ["f", "v"], ["y"], {}),
    ]
    weights = {"image": np.array([-1, 4, 16]), "w": normal(4, 3, 2), "b": normal(6), "v": normal(6 * 32, 10)}
    return saved(path, nodes, weights)


MADE = [
    factors,
    reserved_names,
    rearranged,
    computed_weights,
    of_old_version,
    with_float64,
    constants,
    behind_other_domains,
    transposed_groups,
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("made", MADE)
def test_files_answer_as_their_source_does(tmp_path, made, method):
    path = made(tmp_path / "net.onnx")
    target, _ = compress(path, method)
    assert decibels(path, target) > MIN_DB[method]
    assert count_onnx(target).macs == count_onnx(path).macs
    assert read_facts(target).parameters == read_facts(path).parameters


def test_a_gemm_with_factors_has_an_integer_kernel(tmp_path):
    target, outcome = compress(factors(tmp_path / "net.onnx"), "int8")
    assert kernels_of(target).integer_share == 1
    assert outcome.warnings == ()


def test_layers_behind_operators_of_other_domains_are_quantized(tmp_path):
    target, outcome = compress(behind_other_domains(tmp_path / "net.onnx"), "int8")
    assert kernels_of(target).integer_share == 1
    assert outcome.warnings == ()


def test_products_of_other_types_stay_as_they_are(tmp_path):
    path = with_float64(tmp_path / "net.onnx")
    target, outcome = compress(path, "int4")
    assert stored(onnx.load(target), "v").dtype == np.float64
    assert outcome.facts["quantized_share"] == pytest.approx(64 * 32 / (64 * 32 + 32 * 10))


def recurrent(path):
    nodes = [
        ("Reshape", ["x", "shape"], ["s"], {}),
        ("LSTM", ["s", "w", "r", "b"], ["", "h"], {"hidden_size": 8}),
        ("Squeeze", ["h", "axes"], ["q"], {}),
        ("Gemm", ["q", "v", "c"], ["y"], {}),
    ]
    weights = {"shape": np.array([4, -1, 16]), "axes": np.array([0]), "w": normal(1, 32, 16), "r": normal(1, 32, 8)}
    return saved(path, nodes, {**weights, "b": normal(1, 64), "v": normal(8, 10), "c": normal(10)})


def test_a_recurrent_layer_is_counted_where_it_is_quantized_and_told_where_it_is_not(tmp_path):
    path = recurrent(tmp_path / "net.onnx")
    dynamic, _ = compress(path, "int8-dynamic")
    report = count_onnx(dynamic)
    assert (report.macs, report.uncounted) == (count_onnx(path).macs, ())
    assert read_facts(dynamic).parameters == read_facts(path).parameters
    _, outcome = compress(path, "int8")
    (line,) = outcome.warnings
    assert "LSTM: 1 of 2 layers" in line


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, method, wrong):
    weight = normal(64, 10)
    weight[3, 4] = wrong
    path = saved(tmp_path / "net.onnx", [("MatMul", ["x", "w"], ["y"], {})], {"w": weight})
    with pytest.raises(InputError, match="'w' are not finite"):
        compress(path, method)


def test_a_mask_may_be_infinite(tmp_path):
    mask = np.zeros(10, np.float32)
    mask[2] = -np.inf
    nodes = [("MatMul", ["x", "w"], ["h"], {}), ("Add", ["h", "m"], ["i"], {}), ("Softmax", ["i"], ["y"], {})]
    path = saved(tmp_path / "net.onnx", nodes, {"w": normal(64, 10), "m": mask})
    for method in ("sparse", "int8-dynamic"):
        target, _ = compress(path, method)
        assert (run(onnx.load(target), x=X)[:, 2] == 0).all()
    with pytest.raises(InputError, match="'i' is not finite") as refused:
        compress(path, "int8")  # the mask becomes the bias of a Gemm
    assert "choose int8-dynamic" in refused.value.hint


LARGEST = float(np.finfo(np.float32).max)


def attention(path, masking, stored_values, mixing=(("MatMul", ["weights", "s"], ["mixed"], {}),), **keywords):
    """Write a network of one attention, in which the nodes `masking` make `masked` of the `scores`."""
    nodes = [
        ("Reshape", ["x", "shape"], ["s"], {}),
        ("MatMul", ["s", "wq"], ["q"], {}),
        ("MatMul", ["s", "wk"], ["k"], {}),
        ("Transpose", ["k"], ["kt"], {"perm": [0, 2, 1]}),
        ("MatMul", ["q", "kt"], ["scores"], {}),
        *masking,
        ("Softmax", ["masked"], ["weights"], {"axis": -1}),
        *mixing,
        ("Reshape", ["mixed", "flat"], ["z"], {}),
        ("Gemm", ["z", "v", "c"], ["y"], {}),
    ]
    weights = {
        "shape": np.array([-1, 8, 8]), "flat": np.array([-1, 64]), "v": normal(64, 10), "c": normal(10),
        "wq": 0.6 * normal(8, 8), "wk": 0.6 * normal(8, 8),
    }  # fmt: skip
    return saved(path, nodes, weights | stored_values, **keywords)


ADDED = ("Add", ["scores", "mask"], ["masked"], {})


def causal(low):
    return np.triu(np.full((8, 8), low, np.float32), 1)


@pytest.mark.parametrize("calibrator", ["min-max", "percentile", "entropy", "mse"])
@pytest.mark.parametrize("low", [-100.0, -1e4, -LARGEST, -np.inf])
def test_the_scores_that_a_mask_leaves_keep_their_differences(tmp_path, low, calibrator):
    path = attention(tmp_path / "net.onnx", [ADDED], {"mask": causal(low)})
    target, outcome = compress(path, "int8", calibrator=calibrator)
    assert decibels(path, target) > 18
    quantized = onnx.load(target)
    read = {name: node.op_type for node in quantized.graph.node for name in node.output}
    kept = {node.op_type: read[node.input[0]] for node in quantized.graph.node if node.op_type in {"Add", "Softmax"}}
    assert kept["Softmax"] == "Add", "nothing rounds the masked scores"
    assert not any("mask" in name or name == "masked" for name in outcome.ranges)


def filled(low):
    return {"value": onnx.numpy_helper.from_array(np.array([low], np.float32))}


@pytest.mark.parametrize("low", [-1e4, -np.inf])
@pytest.mark.parametrize(
    "masking",
    [
        [
            ("Shape", ["scores"], ["sides"], {"start": 1}),
            ("ConstantOfShape", ["sides"], ["full"], filled),
            ("Trilu", ["full", "one"], ["mask"], {"upper": 1}),
            ADDED,
        ],
        [
            ("Shape", ["scores"], ["sides"], {}),
            ("Expand", ["low", "sides"], ["full"], {}),
            ("Where", ["seen", "scores", "full"], ["masked"], {}),
        ],
        [
            ("Add", ["scores", "stored"], ["sum"], {}),
            ("Shape", ["sum"], ["sides"], {}),
            ("Expand", ["sum", "sides"], ["masked"], {}),
        ],
    ],
    ids=["drawn", "chosen", "sized"],
)
def test_a_mask_that_the_graph_computes_stays_in_float(tmp_path, masking, low):
    masking = [(*node, filled(low) if at is filled else at) for *node, at in masking]
    stored_values = {
        "one": np.array(1), "low": np.array(low, np.float32), "seen": causal(1.0) == 0, "stored": causal(low)
    }  # fmt: skip
    path = attention(tmp_path / "net.onnx", masking, stored_values, opset=15)
    target, _ = compress(path, "int8")
    assert decibels(path, target) > 25


def test_scores_far_from_zero_keep_their_differences_although_levels_begin_at_zero(tmp_path):
    path = attention(tmp_path / "net.onnx", [ADDED], {"mask": np.array(110, np.float32)})
    target, outcome = compress(path, "int8")
    assert decibels(path, target) > 25
    assert "masked" not in outcome.ranges


def test_masked_scores_that_a_quantized_node_reads_too_are_exact_for_the_softmax(tmp_path):
    mixing = [
        ("Mul", ["masked", "small"], ["scaled"], {}),
        ("MatMul", ["weights", "s"], ["first"], {}),
        ("MatMul", ["scaled", "s"], ["second"], {}),
        ("Add", ["first", "second"], ["mixed"], {}),
    ]
    stored_values = {"mask": causal(-1e4), "small": np.array(1e-4, np.float32)}
    path = attention(tmp_path / "net.onnx", [ADDED], stored_values, mixing)
    target, outcome = compress(path, "int8")
    assert outcome.ranges["masked"][0] < -9e3, "the product is quantized"
    assert decibels(path, target) > 25


@pytest.mark.parametrize(
    "last",
    [
        [("Softmax", ["z"], ["y"], {})],
        [("Sigmoid", ["z"], ["y"], {})],
        [("Softmax", ["z"], ["p"], {}), ("Mul", ["p", "half"], ["q"], {}), ("Reshape", ["q", "rows"], ["y"], {})],
    ],
    ids=["softmax", "sigmoid", "softmax then others"],
)
def test_probabilities_that_the_model_returns_are_not_rounded(tmp_path, last):
    nodes = [
        ("Gemm", ["x", "w"], ["h"], {}),
        ("Sigmoid", ["h"], ["gate"], {}),
        ("Mul", ["h", "gate"], ["g"], {}),
        ("Gemm", ["g", "v"], ["z"], {}),
        *last,
    ]
    weights = {"w": normal(64, 32), "v": 2 * normal(32, 10), "half": np.float32(0.5), "rows": np.array([-1, 10])}
    path = saved(tmp_path / "net.onnx", nodes, weights)
    target, outcome = compress(path, "int8")
    exact, quantized = (run(onnx.load(file), x=X) for file in (path, target))
    assert (exact > 0).all()
    assert exact.min() < 1e-3, "and some are below the first of 256 levels"
    assert (quantized > 0).all()
    assert {"h", "gate", "g", "z"} < set(outcome.ranges), "a sigmoid between layers is quantized"
    assert not {"p", "q", "y"} & set(outcome.ranges)


@pytest.mark.parametrize("method", ["int8", "int8-dynamic", "int4", "sparse"])
def test_a_network_without_layers_is_refused(tmp_path, method):
    path = saved(tmp_path / "net.onnx", [("Slice", ["x", "from", "to", "axis"], ["y"], {})], {
        "from": np.array([0]), "to": np.array([10]), "axis": np.array([1]),
    })  # fmt: skip
    with pytest.raises(InputError, match="has no"):
        compress(path, method)


@pytest.mark.parametrize("method", ["int8", "int8-dynamic", "int4", "sparse"])
def test_a_linear_classifier_without_operators_of_the_standard_is_refused(tmp_path, method):
    attributes = {"domain": CLASSICAL, "coefficients": [0.5] * 640, "intercepts": [0.0] * 10, "targets": 10}
    path = saved(tmp_path / "net.onnx", [("LinearRegressor", ["x"], ["y"], attributes)], {}, domains=(CLASSICAL,))
    with pytest.raises(InputError, match=r"net\.onnx has no"):
        compress(path, method)


def test_a_file_in_which_everything_stays_in_float_is_no_variant(tmp_path):
    path = saved(tmp_path / "net.onnx", [("MatMul", ["x", "w"], ["y"], {})], {"w": normal(64, 10)})
    with pytest.raises(InputError, match="is left to quantize; in float32: MatMul_0"):
        compress(path, "int8", keep_float=("MatMul_0",))


def test_what_the_quantizer_does_not_take_is_refused_with_its_reason(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise IndexError("list index out of range")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", broken)
    path = saved(tmp_path / "net.onnx", [("MatMul", ["x", "w"], ["y"], {})], {"w": normal(64, 10)})
    with pytest.raises(InputError, match="IndexError: list index") as refused:
        compress(path, "int8")
    assert "keep_float" in refused.value.hint


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic link", "hard link"])
@pytest.mark.parametrize("method", METHODS)
def test_weights_in_a_linked_file_as_caches_of_downloads_keep_them(tmp_path, method, link):
    path = factors(tmp_path / "m.onnx")
    expected = compress(path, method)[0].read_bytes()
    cache, folder = tmp_path / "cache", tmp_path / "folder"
    cache.mkdir()
    folder.mkdir()
    linked = folder / "m.onnx"
    onnx.save(onnx.load(path), linked, save_as_external_data=True, location="w.bin", size_threshold=0)
    (folder / "w.bin").rename(cache / "w.bin")
    link(cache / "w.bin", folder / "w.bin")
    assert compress(linked, method)[0].read_bytes() == expected
