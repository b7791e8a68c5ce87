import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.modelfile.facts import read_facts
from kdbench.modelfile.graph import graph_sha256


def reshaped(sides, weight=1.0, name="x", opset=17):
    """`x` (4, 4) reshaped to `sides`, times a weight of two elements."""
    nodes = [helper.make_node("Reshape", [name, "sides"], ["flat"]), helper.make_node("Mul", ["flat", "w"], ["y"])]
    stored = [
        numpy_helper.from_array(np.asarray(sides, np.int64), "sides"),
        numpy_helper.from_array(np.full(2, weight, np.float32), "w"),
    ]
    value = helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [value], [result], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def test_weights_do_not_count():
    assert graph_sha256(reshaped([8, 2], weight=3.0)) == graph_sha256(reshaped([8, 2]))


@pytest.mark.parametrize(
    "other", [reshaped([4, 2, 2]), reshaped([2, 4, 2]), reshaped([8, 2], name="z"), reshaped([8, 2], opset=18)]
)
def test_shapes_names_and_versions_do(other):
    assert graph_sha256(other) != graph_sha256(reshaped([8, 2]))


def test_single_numbers_do_because_they_may_be_scales_and_bounds():
    one, two = reshaped([8, 2]), reshaped([8, 2])
    one.graph.initializer.append(numpy_helper.from_array(np.float32(6.0), "bound"))
    two.graph.initializer.append(numpy_helper.from_array(np.float32(1.0), "bound"))
    assert graph_sha256(one) != graph_sha256(two)


def test_the_facts_of_a_file_hold_it(tiny):
    assert read_facts(tiny("a", seed=1)).graph == read_facts(tiny("b", seed=2)).graph
    assert read_facts(tiny("c", softmax=True)).graph != read_facts(tiny("a")).graph
    assert read_facts(tiny("a")).graph == graph_sha256(onnx.load(tiny("a")))
