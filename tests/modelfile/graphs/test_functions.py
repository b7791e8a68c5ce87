"""Models with local functions, which say the same about their input, output and weights as their operators do."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.compress import Source
from kdbench.compress.methods.sparse import Sparse
from kdbench.errors import InputError
from kdbench.modelfile.facts import read_facts

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]


def save(path, nodes, weights, output, *, element=TensorProto.FLOAT, function=None):
    """Write a model of images (N, 3, 4, 4); `function` is inputs, outputs and nodes of what `nodes` call Part."""
    parts = [] if function is None else [helper.make_function("local", "Part", *function, OPSETS[:1])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, ["n", 3, 4, 4] if element == TensorProto.FLOAT else ["n", 5])],
        [helper.make_tensor_value_info("y", *output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, functions=parts, ir_version=10), path)
    return path


def f(*shape):
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def constant(name, value):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value), name))


PRODUCT = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["z"])]


@pytest.mark.parametrize(
    ("nodes", "output", "form"),
    [
        (
            [constant("k", np.array([3])), helper.make_node("TopK", ["a", "k"], ["v", "b"])],
            (TensorProto.INT64, ["n", 3]),
            "ranking",
        ),
        (
            [helper.make_node("ArgMax", ["a"], ["c"], axis=1), helper.make_node("Cast", ["c"], ["b"], to=1)],
            (TensorProto.FLOAT, ["n", 1]),
            "class",
        ),
        ([helper.make_node("Sigmoid", ["a"], ["b"])], (TensorProto.FLOAT, ["n", 3]), "scores"),
    ],
    ids=["TopK", "ArgMax", "Sigmoid"],
)
def test_the_form_of_an_output_that_a_function_computes(nodes, output, form, tmp_path):
    calling = [*PRODUCT, helper.make_node("Part", ["z"], ["y"], domain="local")]
    path = save(tmp_path / "m.onnx", calling, {"w": f(48, 3)}, output, function=(["a"], ["b"], nodes))
    assert read_facts(path).output.form == form


def test_the_normalisation_of_pixels_in_a_function(tmp_path):
    inside = [
        *(constant("mean", np.float32(127.5)), constant("std", np.float32(58.4))),
        *(helper.make_node("Sub", ["a", "mean"], ["d"]), helper.make_node("Div", ["d", "std"], ["b"])),
    ]
    nodes = [helper.make_node("Part", ["x"], ["p"], domain="local"), helper.make_node("Flatten", ["p"], ["f"])]
    nodes.append(helper.make_node("MatMul", ["f", "w"], ["y"]))
    path = save(
        tmp_path / "m.onnx", nodes, {"w": f(48, 3)}, (TensorProto.FLOAT, ["n", 3]), function=(["a"], ["b"], inside)
    )
    assert read_facts(path).scales_pixels


def test_the_vocabulary_of_a_table_that_a_function_looks_up(tmp_path):
    inside = [helper.make_node("Gather", ["table", "ids"], ["b"])]
    nodes = [
        helper.make_node("Part", ["x", "w"], ["e"], domain="local"),
        helper.make_node("ReduceMean", ["e", "axes"], ["y"], keepdims=0),
    ]
    weights = {"w": f(11, 3), "axes": np.array([1])}
    function = (["ids", "table"], ["b"], inside)
    path = save(
        tmp_path / "m.onnx", nodes, weights, (TensorProto.FLOAT, ["n", 3]), element=TensorProto.INT64, function=function
    )
    assert read_facts(path).vocabulary == 11


def normed(path):
    """Write a batch norm of 3 channels in a function, whose statistics are called otherwise in the graph."""
    inside = [
        constant("low", np.float32(-1)),
        helper.make_node("BatchNormalization", ["a", "s", "b", "mean", "v"], ["n"]),
        helper.make_node("Clip", ["n", "low"], ["o"]),
    ]
    nodes = [
        helper.make_node("Part", ["x", "scale", "shift", "m", "var"], ["p"], domain="local"),
        helper.make_node("Part", ["p", "scale", "shift", "m", "var"], ["q"], domain="local"),
        *(helper.make_node("Flatten", ["q"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])),
    ]
    weights = {"scale": f(3), "shift": f(3), "m": f(3), "var": np.ones(3, np.float32), "w": f(48, 3)}
    function = (["a", "s", "b", "mean", "v"], ["o"], inside)
    return save(path, nodes, weights, (TensorProto.FLOAT, ["n", 3]), function=function)


def test_statistics_that_a_function_reads_are_no_parameters(tmp_path):
    facts = read_facts(normed(tmp_path / "m.onnx"))
    assert (facts.parameters, facts.weight_bytes) == (3 + 3 + 48 * 3, 4 * (4 * 3 + 48 * 3 + 1))


def test_weights_that_functions_multiply_with_are_pruned(tmp_path):
    inside = [helper.make_node("MatMul", ["a", "m"], ["b"])]
    nodes = [PRODUCT[0], helper.make_node("Part", ["f", "w"], ["y"], domain="local")]
    function = (["a", "m"], ["b"], inside)
    path = save(tmp_path / "m.onnx", nodes, {"w": f(48, 3)}, (TensorProto.FLOAT, ["n", 3]), function=function)
    Sparse(sparsity=0.75).compress(Source(path, read_facts(path)), tmp_path / "sparse.onnx")
    (weight,) = onnx.load(tmp_path / "sparse.onnx").graph.initializer
    assert int((numpy_helper.to_array(weight) == 0).sum()) == 108  # of 144


def test_functions_that_do_not_fit_their_calls_are_refused(tmp_path):
    path = normed(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].input.append("w")
    onnx.save(model, path)
    with pytest.raises(InputError, match=r"the local functions of .*m\.onnx cannot be resolved"):
        read_facts(path)
