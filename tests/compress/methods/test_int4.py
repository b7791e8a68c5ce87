import builtins
import sys

import numpy as np
import onnx
import pytest
from small_graphs import model_of, run, stored

from kdbench.compress import COMPRESSORS, Source
from kdbench.compress.methods.int4 import Int4, product_share, split_gemm
from kdbench.errors import InputError
from kdbench.extras import installer
from kdbench.modelfile.facts import inspect

RNG = np.random.default_rng(6)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def dense(path, *, convolution=False):
    """Write Gemm -> ReLU -> MatMul, after a convolution of many weights if asked."""
    nodes = [
        ("Gemm", ["f", "w0", "c0"], ["a"], {"transB": 1}),
        ("Relu", ["a"], ["r"], {}),
        ("MatMul", ["r", "w1"], ["y"], {}),
    ]
    weights = {"w0": normal(64, 48), "c0": normal(64), "w1": normal(64, 10)}
    inputs = {"f": ["n", 48]}
    if convolution:
        before = [
            ("Conv", ["x", "w"], ["m"], {}),
            ("GlobalAveragePool", ["m"], ["g"], {}),
            ("Flatten", ["g"], ["f"], {}),
        ]
        nodes, weights, inputs = before + nodes, weights | {"w": normal(48, 48, 3, 3)}, {"x": ["n", 48, 4, 4]}
    model = model_of(nodes, weights, inputs)
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["n", 10]))
    onnx.save(model, path)
    return path


def compress(path, target, **settings):
    return Int4(**settings).compress(Source(path, inspect(path)), target)


def rounded(weight, block=32):
    """Round weights (K, N) to 16 levels in blocks of K, as the runtime dequantizes them: a scale of max / -8."""
    blocks = np.concatenate([weight, np.zeros((-len(weight) % block, weight.shape[1]), weight.dtype)])
    blocks = blocks.reshape(-1, block, weight.shape[1])
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    scale = largest / -8
    return (np.clip(np.round(blocks / scale), -8, 7) * scale).reshape(-1, weight.shape[1])[: len(weight)]


def test_products_have_4_bit_weights(tmp_path):
    path, target = dense(tmp_path / "net.onnx"), tmp_path / "int4.onnx"
    outcome = compress(path, target)
    model, small = onnx.load(path), onnx.load(target)
    assert [node.op_type for node in small.graph.node].count("MatMulNBits") == 2
    x = normal(5, 48)
    inner = np.maximum(x @ rounded(stored(model, "w0").T) + stored(model, "c0"), 0)
    np.testing.assert_allclose(run(small, f=x), inner @ rounded(stored(model, "w1")), rtol=1e-3, atol=1e-2)
    assert inspect(target).weight_bytes < 0.25 * inspect(path).weight_bytes
    assert outcome.warnings == ()
    assert COMPRESSORS.get("int4") is Int4


def test_few_weights_in_products_are_told(tmp_path):
    path = dense(tmp_path / "net.onnx", convolution=True)
    outcome = compress(path, tmp_path / "int4.onnx")
    share = (64 * 48 + 640) / (64 * 48 + 640 + 64 + 48 * 48 * 9)
    assert outcome.facts["quantized_share"] == pytest.approx(share)
    assert len(outcome.warnings) == 1


def test_splitting_keeps_the_answer(tmp_path):
    model = onnx.load(dense(tmp_path / "net.onnx"))
    exact = run(model, f=(x := normal(3, 48)))
    split_gemm(model)
    assert {node.op_type for node in model.graph.node} == {"MatMul", "Add", "Relu"}
    np.testing.assert_allclose(run(model, f=x), exact, rtol=1e-5, atol=1e-5)
    assert product_share(model) > 0.9


def test_nodes_can_stay_as_they_are(tmp_path):
    path = dense(tmp_path / "net.onnx")
    compress(path, tmp_path / "int4.onnx", keep_float=("Gemm_0",))
    kinds = [node.op_type for node in onnx.load(tmp_path / "int4.onnx").graph.node]
    assert (kinds.count("Gemm"), kinds.count("MatMulNBits")) == (1, 1)


def test_a_model_without_products_is_refused(tmp_path):
    model = model_of([("Conv", ["x", "w"], ["y"], {})], {"w": normal(2, 3, 1, 1)}, {"x": ["n", 3, 4, 4]})
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["n", 2, 4, 4]))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(InputError, match="no matrix product"):
        compress(tmp_path / "net.onnx", tmp_path / "int4.onnx")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    imported = builtins.__import__

    def without(name, *rest, **named):
        if name.startswith("onnx_ir"):
            raise ModuleNotFoundError("No module named 'onnx_ir'", name="onnx_ir")
        return imported(name, *rest, **named)

    for module in [name for name in sys.modules if "matmul_nbits_quantizer" in name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="onnx_ir") as caught:
        compress(dense(tmp_path / "net.onnx"), tmp_path / "int4.onnx")
    assert caught.value.hint == f"{installer()} onnx-ir"
