"""The facts of a model file: inputs, outputs, and what is no model."""

import numpy as np
import onnx
import pytest
from modelfile.graph_parts import IMAGES, graph_of, value
from onnx import TensorProto, helper, numpy_helper

from kdbench.errors import InputError
from kdbench.modelfile.facts import inspect
from kdbench.worker.jobs import JobModel
from kdbench.worker.runtimes.onnxruntime import LoadedModel


def test_facts_of_a_small_classifier(tiny):
    path = tiny()
    facts = inspect(path, data_shape=IMAGES)
    assert facts.parameters == 24 * 6 + 6
    assert facts.weight_bytes == 4 * facts.parameters
    assert facts.size_bytes == path.stat().st_size
    assert (facts.opset, facts.classes, facts.fixed_batch) == (17, 6, None)
    assert (facts.input_name, facts.input_dtype, facts.output.name) == ("x", "float32", "y")
    assert (facts.input_shape, facts.sample_shape) == ((None, *IMAGES), IMAGES)


def test_fixed_batch(tiny):
    assert inspect(tiny(batch=7)).fixed_batch == 7


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "download or export it again"),
        (b"not a model", "download the file itself"),
        (b"\x08\x07", "this one may be truncated"),
        (b"\x00" * 100, "this one may be truncated"),
    ],
)
def test_a_file_that_is_no_model(tmp_path, content, hint):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        inspect(path)
    assert hint in caught.value.hint


def test_every_truncation_is_an_input_error_or_reads_whole(tiny):
    path = tiny()
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            inspect(path)


def test_a_file_too_large_for_its_format(tmp_path):
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 31)  # a hole: it takes no room
    with pytest.raises(InputError, match="2 GiB") as caught:
        inspect(path)
    assert "save_as_external_data" in caught.value.hint


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no model file"):
        inspect(tmp_path / "m.onnx")


def test_an_input_of_another_kind_of_model(tmp_path):
    path = tmp_path / "m.onnx"
    for shape, element in ((["n", 3, 8, 8], TensorProto.INT64), (["n", 8], TensorProto.STRING)):
        onnx.save(graph_of([value("x", shape, element)], [value("y", shape)]), path)
        with pytest.raises(InputError, match=r"int64|string"):
            inspect(path)


def test_token_ids_and_how_many_there_are(tmp_path):
    path = tmp_path / "m.onnx"
    table = numpy_helper.from_array(np.ones((50, 3), np.float32), "table")
    nodes = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "ids"], ["vectors"]),
        helper.make_node("ReduceMean", ["vectors"], ["y"], axes=[1], keepdims=0),
    ]
    tokens = [value("x", ["n", 8], TensorProto.INT32)]
    onnx.save(graph_of(tokens, [value("y", ["n", 3])], nodes, [table]), path)
    facts = inspect(path, data_shape=(8,), data_layout="tokens")
    assert (facts.input_dtype, facts.layout, facts.vocabulary) == ("int32", "array", 50)


def test_weights_listed_among_the_inputs_are_no_inputs(tmp_path):
    path = tmp_path / "m.onnx"
    stored = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    onnx.save(graph_of([value("x", ["n", 4]), value("w", [4, 3])], [value("y", ["n", 3])], nodes, [stored]), path)
    assert inspect(path).input_name == "x"


def test_two_real_inputs_are_refused(tmp_path):
    path = tmp_path / "m.onnx"
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    onnx.save(graph_of([value("a", ["n", 4]), value("b", ["n", 4])], [value("y", ["n", 4])], nodes), path)
    with pytest.raises(InputError, match="'a', 'b'"):
        inspect(path)


def test_the_output_of_logits_is_chosen_or_named(tmp_path):
    path = tmp_path / "m.onnx"
    outputs = [value("features", ["n", 8, 4, 4]), value("logits", ["n", 10, 1, 1]), value("aux", ["n", 10])]
    onnx.save(graph_of([value("x", ["n", 3, 8, 8])], outputs), path)
    assert inspect(path).output.name == "logits"
    assert inspect(path).classes == 10
    assert inspect(path, output="aux").output.name == "aux"
    with pytest.raises(InputError, match="no output 'logit'") as caught:
        inspect(path, output="logit")
    assert all(name in caught.value.hint for name in ("features", "logits", "aux"))


def with_labels(path, loss):
    """Write a graph for training: the labels beside the images reach nothing, or only a loss."""
    inputs = [value("x", ["n", 4]), value("labels", ["n"], TensorProto.INT64)]
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    outputs = [value("y", ["n", 4])]
    if loss:
        nodes.append(helper.make_node("SoftmaxCrossEntropyLoss", ["y", "labels"], ["loss"]))
        outputs.append(value("loss", []))
    onnx.save(graph_of(inputs, outputs, nodes), path)
    return path


@pytest.mark.parametrize("loss", [False, True])
def test_a_placeholder_that_no_answer_needs_is_no_input(tmp_path, loss):
    facts = inspect(with_labels(tmp_path / "m.onnx", loss), classes=4)
    assert (facts.input_name, facts.output.name) == ("x", "y")


def test_an_output_that_needs_a_second_input_is_refused_beside_one_that_does_not(tmp_path):
    """Such as logits of tokens and their mask beside the tokens' features: a mask of zeros would make them equal."""
    path = tmp_path / "m.onnx"
    inputs, outputs = (
        [value("x", ["n", 4]), value("mask", ["n", 4])],
        [value("y", ["n", 4]), value("features", ["n", 8])],
    )
    nodes = [
        helper.make_node("Mul", ["x", "mask"], ["y"]),
        helper.make_node("Concat", ["x", "x"], ["features"], axis=1),
    ]
    onnx.save(graph_of(inputs, outputs, nodes), path)
    with pytest.raises(InputError, match=r"output 'y' needs 2 inputs \('x', 'mask'\)"):
        inspect(path, classes=4)
    assert inspect(path, classes=8).output.name == "features"
    assert inspect(path).output.name == "features"  # where none is scored


@pytest.mark.parametrize("loss", [False, True])
def test_a_placeholder_is_fed_with_zeros(tmp_path, loss):
    path = with_labels(tmp_path / "m.onnx", loss)
    model = LoadedModel(JobModel("m", str(path), "x", "y", "float32", "flat", (4,), None), provider="cpu", threads=1)
    inputs = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(model(inputs), inputs)
    run, arguments = model.bind([inputs])
    np.testing.assert_array_equal(run(*arguments[0])[0], inputs)


def test_dynamic_quantization_is_seen(tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    weights = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    values = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 4), ("y", 3))]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weights])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), tmp_path / "float.onnx"
    )
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx")
    result = [inspect(tmp_path / f"{name}.onnx").dynamic_quantization for name in ("float", "dynamic")]
    assert result == [False, True]
