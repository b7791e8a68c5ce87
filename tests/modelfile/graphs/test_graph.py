from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.errors import InputError
from kdbench.modelfile.facts import read_facts
from kdbench.modelfile.graphs.graph import graph_sha256
from kdbench.modelfile.rounding import output_step


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


def saved(tmp_path, nodes, *, opset=17):
    """Write a model of the nodes, from `x` to `z`, in any order."""
    x, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 64]) for name in "xz")
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "g", [x], [z])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize(
    "nodes",
    [
        [("Identity", ["b"], ["z"]), ("Identity", ["z"], ["b"])],
        [("Reshape", ["x", "b"], ["a"]), ("Cast", ["a"], ["b"]), ("Flatten", ["a"], ["z"])],
        [("DequantizeLinear", ["b", "x"], ["z"]), ("QuantizeLinear", ["z", "x"], ["b"])],
    ],
)
def test_a_graph_that_goes_round_is_read_all_the_same(nodes, tmp_path):
    path = saved(tmp_path, nodes)
    assert read_facts(path).output.name == "z"
    assert output_step(path, "z", 1.0, 1.0) in {None, 1 / 255}


@pytest.mark.parametrize(
    "node",
    [
        ("Identity", [], ["z"]),
        ("Flatten", ["x"], []),
        ("Gather", ["x"], ["z"]),
        ("Constant", [], []),
        ("DequantizeLinear", ["x"], ["z"]),
    ],
)
def test_a_node_without_its_operands_is_refused(node, tmp_path):
    path = saved(tmp_path, [node, ("Relu", ["x"], ["z"])])
    with pytest.raises(InputError, match=f"{node[0]} node .* needs"):
        read_facts(path)


def test_operators_of_others_may_have_any_operands(tmp_path):
    nodes = [helper.make_node(kind, [], ["z"], domain="own") for kind in ("Identity", "Gather", "Constant", "TopK")]
    path = saved(tmp_path, [("Relu", ["x"], ["z"])])
    model = onnx.load(path)
    model.graph.node.extend([*nodes, helper.make_node("Flatten", ["x"], [], domain="own")])
    onnx.save(model, path)
    assert read_facts(path).output.name == "z"


def test_a_chain_of_many_nodes_is_followed_once(tmp_path):
    names = ["x", *(f"v{number}" for number in range(20_000)), "z"]  # minutes, if each step looked through all nodes
    path = saved(tmp_path, [("Identity", [one], [other]) for one, other in pairwise(names)])
    assert read_facts(path).output.name == "z"
