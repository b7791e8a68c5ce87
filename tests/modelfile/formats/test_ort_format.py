"""onnxruntime's own format holds the same model as the ONNX file that it was written from."""

from contextlib import suppress

import flatbuffers
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.errors import InputError
from kdbench.macs.onnx_counter import count_onnx
from kdbench.modelfile.facts import read_facts
from kdbench.modelfile.formats.ort_format import _in_order, read_ort
from kdbench.modelfile.graphs.weights import nodes_of
from kdbench.modelfile.reading import read_model


@pytest.fixture
def converted():
    """Write a file in onnxruntime's format, without changing its graph."""

    def convert(path):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.optimized_model_filepath = str(path.with_suffix(".ort"))
        options.add_session_config_entry("session.save_model_format", "ORT")
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return path.with_suffix(".ort")

    return convert


def test_its_facts_and_macs_are_those_of_the_onnx_file(tiny, converted):
    original = tiny(softmax=True)
    path = converted(original)
    facts, expected = read_facts(path), read_facts(original)
    for name in ("weight_bytes", "parameters", "opset", "input_name", "input_dtype", "input_shape", "outputs"):
        assert getattr(facts, name) == getattr(expected, name)
    assert facts.size_bytes == path.stat().st_size
    assert count_onnx(path).macs == count_onnx(original).macs == 24 * 6


def test_graphs_within_graphs_and_attributes(tmp_path, converted):
    def branch(name, factor):
        inner = helper.make_node("Mul", ["x", f"{name}_k"], [f"{name}_y"])
        result = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, ["n", 4])
        return helper.make_graph(
            [inner], name, [], [result], [numpy_helper.from_array(np.float32(factor), f"{name}_k")]
        )

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["z"], then_branch=branch("a", 2), else_branch=branch("b", 3)),
        helper.make_node("LeakyRelu", ["z"], ["y"], alpha=0.25),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [numpy_helper.from_array(np.float32(0), "zero")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    read = read_model(converted(tmp_path / "m.onnx"))
    onnx.checker.check_model(read)
    # It computes the same when it is run as an ONNX file again.
    x = np.array([[1, -2, 3, -1]], np.float32)
    sessions = [
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]) for m in (model, read)
    ]
    for sign in (1, -1):
        np.testing.assert_array_equal(*(session.run(None, {"x": sign * x}) for session in sessions))


def test_a_damaged_file_is_an_input_error_or_reads_whole(tiny, converted):
    path = converted(tiny())
    whole, model = path.read_bytes(), read_model(path)
    for length in range(8, len(whole), 37):
        path.write_bytes(whole[:length])
        with suppress(InputError):
            assert read_model(path) == model  # the schema's last strings are none of the model's
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(whole)
        for position in rng.integers(8, len(whole), 4):
            damaged[position] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        with suppress(InputError):
            read_facts(path)


def nested(levels, width):
    """Return a file of `levels` graphs within graphs, each with `width` nodes that are all the same one."""
    builder = flatbuffers.Builder()

    def table(place, offset, kind=None):
        builder.StartObject(14)
        builder.PrependUOffsetTRelativeSlot(place, offset, 0)
        if kind is not None:
            builder.PrependInt32Slot(2, kind, 0)
        return builder.EndObject()

    def vector(offset, count):
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    graph = table(5, vector(builder.CreateString("z"), 1))
    for _ in range(levels):
        attribute = table(7, graph, 5)
        graph = table(2, vector(table(10, vector(attribute, 1)), width))
    builder.Finish(table(1, table(7, graph)), file_identifier=b"ORTM")
    return bytes(builder.Output())


def test_a_file_whose_parts_are_shared_without_end_is_refused(tmp_path):
    path = tmp_path / "m.ort"
    path.write_bytes(nested(3, 2))
    model = read_ort(path)
    assert len(list(nodes_of(model))) == 2 + 4 + 8
    path.write_bytes(nested(30, 2))  # 2^31 nodes in two kilobytes
    with pytest.raises(InputError, match="damaged"):
        read_ort(path)


def test_nodes_in_any_order_are_sorted_in_linear_time(tmp_path):
    count = 20_000
    nodes = [helper.make_node("Relu", [f"v{number}"], [f"v{number + 1}"]) for number in range(count)][::-1]
    order = list(_in_order(nodes, [{*node.input} for node in nodes]))  # minutes, if each was looked for
    assert order == list(range(count))[::-1]
    loop = [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    assert list(_in_order(loop, [{"b"}, {"a"}])) == [0, 1]
