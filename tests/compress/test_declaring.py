"""Variants have as many parameters as their source, also where only the source shows what is none."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.compress.calibration import CalibrationChoice
from kdbench.modelfile.facts import read_facts
from kdbench.recipe import InputOptions
from kdbench.workflows.compress import compress_model

KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
RNG = np.random.default_rng(0)


def build(path):
    """Write a normalisation without weights, a buffer, a learned number and a product: 1 + 64 · 10 parameters."""
    arrays = {"table": RNG.standard_normal((4, 16)), "gain": np.array(1.5), "w": RNG.standard_normal((64, 10))}
    stored = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    ones, zeros = (numpy_helper.from_array(np.full(4, number, np.float32)) for number in (1, 0))
    nodes = [
        helper.make_node("Constant", [], ["ones"], value=ones),
        helper.make_node("Constant", [], ["zeros"], value=zeros),
        helper.make_node("InstanceNormalization", ["x", "ones", "zeros"], ["normal"]),
        helper.make_node("Add", ["normal", "table"], ["placed"]),
        helper.make_node("Mul", ["placed", "gain"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(*value) for value in (("x", 1, ["n", 4, 16]), ("y", 1, ["n", 10])))
    graph = helper.make_graph(nodes, "g", [x], [y], stored)
    for name, kind in (("table", "BUFFER"), ("gain", "PARAMETER"), ("w", "PARAMETER")):
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, arrays[name].shape)
        value.metadata_props.add(key=KIND, value=kind)
        graph.value_info.append(value)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.mark.parametrize("method", ["int8", "fp16", "int8-dynamic", "int4", "sparse"])
def test_parameters_of_variants(tmp_path, method):
    source = tmp_path / "m.onnx"
    build(source)
    samples = {f"x_{part}": RNG.standard_normal((20, 4, 16)).astype(np.float32) for part in ("train", "test")}
    np.savez(tmp_path / "data.npz", **samples, y_train=np.arange(20) % 10, y_test=np.arange(20) % 10)
    data = InputOptions(data=f"npz:{tmp_path / 'data.npz'}", data_layout="NCL")
    compress_model(source, [method], out=tmp_path / "out", inputs=data, calibration=CalibrationChoice(count=16))
    variant = tmp_path / "out" / f"m-{method}.onnx"
    assert read_facts(source).parameters == read_facts(variant).parameters == 1 + 64 * 10
    onnx.checker.check_model(variant, full_check=True)
    inputs = {"x": RNG.standard_normal((1, 4, 16)).astype(np.float32)}
    paths = (source, variant)
    exact, close = (onnxruntime.InferenceSession(path).run(None, inputs)[0] for path in paths)
    assert np.abs(exact - close).max() < 0.5 * np.abs(exact).max()
