"""Branches and loops: counted where what runs, and how often, is written in the file; listed where it is not."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.macs.onnx_counter import count_onnx

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def stored(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def graph_of(name, nodes, inputs=(), outputs=(), constants=()):
    values = [helper.make_tensor_value_info(i, kind, None) for i, kind in inputs]
    return helper.make_graph(nodes, name, values, [helper.make_empty_tensor_value_info(o) for o in outputs], constants)


def count(folder, node, constants=(), inputs=()):
    values = [helper.make_tensor_value_info("x", FLOAT, ["batch", 8]), *inputs]
    weights = [stored("w", np.ones((8, 8), np.float32)), stored("v", np.ones((8, 3), np.float32)), *constants]
    graph = helper.make_graph([node], "g", values, [helper.make_empty_tensor_value_info("y")], weights)
    path = folder / "model.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("example", 1)]), path
    )
    return count_onnx(path)


def branch(name, weight):
    return graph_of(name, [helper.make_node("MatMul", ["x", weight], [f"{name}_y"], name=name)], outputs=[f"{name}_y"])


def choice(then, otherwise):
    return helper.make_node(
        "If", ["condition"], ["y"], "choice", then_branch=branch("then", then), else_branch=branch("else", otherwise)
    )


@pytest.mark.parametrize(("condition", "macs"), [(True, 64), (False, 24)])
def test_a_constant_condition_settles_the_branch(condition, macs, tmp_path):
    report = count(tmp_path, choice("w", "v"), [stored("condition", condition)])
    assert (report.macs, report.uncounted) == (macs, ())
    assert report.by_layer == ((f"choice/{'then' if condition else 'else'}", "MatMul", macs),)


CONDITION = helper.make_tensor_value_info("condition", BOOL, [1])


def test_branches_that_cost_the_same_are_counted_once(tmp_path):
    report = count(tmp_path, choice("w", "w"), inputs=[CONDITION])
    assert (report.macs, report.uncounted) == (64, ())


def test_branches_that_differ_are_listed_and_not_counted(tmp_path):
    report = count(tmp_path, choice("w", "v"), inputs=[CONDITION])
    assert (report.macs, report.uncounted) == (0, ("MatMul (inside If)",))


def loop(weight="w", trips="trips"):
    nodes = [
        helper.make_node("MatMul", ["state", weight], ["next"], name="step"),
        helper.make_node("Identity", ["going"], ["goes_on"]),
    ]
    inputs = [("trip", INT), ("going", BOOL), ("state", FLOAT)]
    return helper.make_node(
        "Loop", [trips, "", "x"], ["y"], "loop", body=graph_of("body", nodes, inputs, ["goes_on", "next"])
    )


def test_a_loop_counts_once_a_trip(tmp_path):
    report = count(tmp_path, loop(), [stored("trips", np.array(7))])
    assert (report.macs, report.uncounted) == (7 * 64, ())
    assert report.by_layer == (("loop/step", "MatMul", 7 * 64),)


def test_work_on_constants_of_the_outer_graph_is_none_of_a_trip(tmp_path):
    """As onnxruntime does, which folds w · w in the body when it loads the file."""
    one = loop("squared")
    product = helper.make_node("MatMul", ["w", "w"], ["squared"], name="constant")
    steps = [product, *one.attribute[0].g.node]
    del one.attribute[0].g.node[:]
    one.attribute[0].g.node.extend(steps)
    report = count(tmp_path, one, [stored("trips", np.array(7))])
    assert report.by_layer == (("loop/step", "MatMul", 7 * 64),)


def test_a_loop_whose_state_changes_its_shape_is_listed(tmp_path):
    assert count(tmp_path, loop("v"), [stored("trips", np.array(7))]).uncounted == ("MatMul (inside Loop)",)


def test_a_loop_of_unknown_length_is_listed(tmp_path):
    trips = helper.make_tensor_value_info("trips", INT, [1])
    assert count(tmp_path, loop(), inputs=[trips]).uncounted == ("MatMul (inside Loop)",)
    endless = loop(trips="")
    assert count(tmp_path, endless).uncounted == ("MatMul (inside Loop)",)


def test_a_loop_that_a_value_may_end_is_listed(tmp_path):
    body = graph_of(
        "body",
        [
            helper.make_node("MatMul", ["state", "w"], ["next"], name="step"),
            helper.make_node("ReduceMax", ["next"], ["largest"], keepdims=0),
            helper.make_node("Cast", ["largest"], ["goes_on"], to=BOOL),
        ],
        [("trip", INT), ("going", BOOL), ("state", FLOAT)],
        ["goes_on", "next"],
    )
    node = helper.make_node("Loop", ["trips", "", "x"], ["y"], "loop", body=body)
    assert count(tmp_path, node, [stored("trips", np.array(7))]).uncounted == ("MatMul (inside Loop)",)


def test_a_scan_counts_once_a_slice(tmp_path):
    nodes = [
        helper.make_node("Gemm", ["slice", "w", "state"], ["next"], name="step"),
        helper.make_node("Identity", ["next"], ["row"]),
    ]
    body = graph_of("body", nodes, [("state", FLOAT), ("slice", FLOAT)], ["next", "row"])
    node = helper.make_node(
        "Scan", ["x", "sequence"], ["last", "y"], "scan", body=body, num_scan_inputs=1, scan_input_axes=[1]
    )
    sequence = helper.make_tensor_value_info("sequence", FLOAT, ["batch", 5, 8])
    report = count(tmp_path, node, inputs=[sequence])
    assert (report.macs, report.uncounted) == (5 * 64, ())


def test_a_scan_that_also_returns_its_states_counts_once_a_slice(tmp_path):
    """As torch writes a recurrence: the slice is needed for the next state only, and stays an input of the body."""
    nodes = [
        helper.make_node("MatMul", ["state", "w"], ["h"], "product"),
        helper.make_node("Add", ["h", "slice"], ["a"]),
        helper.make_node("Tanh", ["a"], ["next"]),
        helper.make_node("Identity", ["state"], ["row"]),
    ]
    body = graph_of("body", nodes, [("state", FLOAT), ("slice", FLOAT)], ["next", "row"])
    node = helper.make_node(
        "Scan", ["x", "sequence"], ["last", "y"], "scan", body=body, num_scan_inputs=1, scan_input_axes=[1]
    )
    sequence = helper.make_tensor_value_info("sequence", FLOAT, ["batch", 5, 8])
    report = count(tmp_path, node, inputs=[sequence])
    assert (report.macs, report.uncounted) == (5 * 64, ())


def test_an_operator_with_subgraphs_and_work_of_another_kind_is_listed(tmp_path):
    """Like FlexAttention, whose subgraph changes the scores between two matrix products of the operator."""
    scale = graph_of("scale", [helper.make_node("Tanh", ["score"], ["scaled"])], [("score", FLOAT)], ["scaled"])
    report = count(tmp_path, helper.make_node("Attend", ["x", "x", "x"], ["y"], domain="example", scores=scale))
    assert (report.macs, report.uncounted) == (0, ("example::Attend",))
