from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.mark.parametrize(
    ("arguments", "macs", "parameters"),
    [
        # The counts of docs and papers: canonical MAdds and thop's, chenyaofo's and torchvision's tables.
        (["vgg11_bn", "--classes", "100", "--input", "3x32x32"], 153_339_904, 9_802_596),
        (["vgg11_bn", "--classes", "100", "--convention", "thop"], 153_946_112, 9_802_596),
        (["resnet50", "--classes", "1000", "--input", "3x224x224"], 4_089_184_256, 25_557_032),
    ],
)
def test_published_counts(run_cli, arguments, macs, parameters):
    output = run_cli("macs", *arguments, "--json").json
    assert (output["macs"], output["parameters"], output["uncounted"]) == (macs, parameters, [])


def test_json_says_what_was_counted_and_how(run_cli):
    output = run_cli("macs", "784-30-10", "--input", "1x28x28", "--json").json
    assert output == {
        "model": "784-30-10",
        "macs": 784 * 30 + 30 * 10,
        "convention": "canonical",
        "input": [1, 28, 28],
        "parameters": 784 * 30 + 30 + 30 * 10 + 10,
        "uncounted": [],
    }


def test_layers_add_up_to_the_whole(run_cli):
    output = run_cli("macs", "resnet20", "--by-layer", "--json").json
    assert sum(layer["macs"] for layer in output["by_layer"]) == output["macs"] == 40_813_184
    assert sum(layer["share"] for layer in output["by_layer"]) == pytest.approx(1)
    text = run_cli("macs", "resnet20", "--by-layer").out
    assert all(layer["layer"] in text for layer in output["by_layer"])
    assert "40,813,184" in text
    assert text.rstrip().endswith("100.00 %")


def test_options_reach_the_model(run_cli):
    whole, half = (run_cli("macs", "vgg8_bn", *more, "--json").json for more in ([], ["--option", "width=0.5"]))
    assert half["parameters"] < whole["parameters"] / 3


def test_an_onnx_file_is_counted_in_its_own_shape(run_cli, foreign_models):
    output = run_cli("macs", foreign_models / "resnet20_cifar10.onnx", "--json").json
    assert (output["macs"], output["input"]) == (40_551_040, [3, 32, 32])


def test_a_file_that_leaves_its_size_open_is_counted_at_the_size_given(run_cli, tmp_path):
    image, result = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", c, "h", "w"]) for n, c in (("x", 3), ("y", 4))
    )
    weights = numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    onnx.save(
        helper.make_model(helper.make_graph([node], "open", [image], [result], [weights])), tmp_path / "open.onnx"
    )
    counted = run_cli("macs", tmp_path / "open.onnx", "--input", "3x10x20", "--json").json
    assert (counted["macs"], counted["input"]) == (10 * 20 * 4 * 3 * 9, [3, 10, 20])


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["vgg11_bnn"], "unknown model 'vgg11_bnn'", "did you mean 'vgg11_bn'?"),
        (["vgg11_bn", "--option", "widht=2"], "unknown option 'widht'", "did you mean 'width'?"),
        (["vgg11_bn", "--option", "width"], "--option", "--option width=0.5"),
        (["vgg11_bn", "--input", "3x"], "--input", "3x32x32"),
        (["vgg11_bn", "--input", "32"], "takes images", "use dense"),
        (["gone.onnx"], "gone.onnx", "name an .onnx"),
        (["GONE.ONNX"], "GONE.ONNX", "name an .onnx"),
        (["vgg11_bn", "--convention", "ptflop"], "--convention: unknown 'ptflop'", "did you mean 'ptflops'?"),
        (["vgg11_bn", "--convention", "x"], "unknown 'x'", "known: canonical, fvcore, thop, ptflops"),
        (["vgg11_bn", "--classes", "ten"], "--classes: 'ten' is not a count", "--classes 3"),
        (["vgg11_bn", "--classes", "0"], "--classes: '0' is not a count", "--classes 3"),
        (["vgg11_bn", "--classes", "10000001"], "from 1 to 10,000,000", "--classes 3"),
        (["gone.onnx", "--classes", "10"], "--classes applies only to models by name", "leave --classes out"),
        (["gone.onnx", "--option", "width=2"], "--option applies only to models by name", "leave --option out"),
        (["gone.onnx", "--convention", "thop"], "no thop count", "name the model"),
    ],
)
def test_what_cannot_be_counted(run_cli, arguments, message, hint):
    ended = run_cli("macs", *arguments)
    assert ended.code == 3
    assert message in ended.err
    assert hint in ended.err


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07\x12\x04half"])
def test_a_file_that_is_no_model(run_cli, tmp_path: Path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    ended = run_cli("macs", path)
    assert ended.code == 3
    assert "Traceback" not in ended.err
    assert str(path) in ended.err


def test_a_file_of_any_kind_is_counted_and_what_is_not_is_named(run_cli, tmp_path):
    tokens, mask = (helper.make_tensor_value_info(name, TensorProto.INT64, [1, 6]) for name in ("tokens", "mask"))
    weights = [numpy_helper.from_array(np.zeros(shape, np.float32), n) for n, shape in (("e", (9, 8)), ("w", (8, 5)))]
    nodes = [
        helper.make_node("Gather", ["e", "tokens"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["m"], name="dense"),
        helper.make_node("Sparse", ["m", "mask"], ["y"], domain="com.example"),
    ]
    graph = helper.make_graph(nodes, "g", [tokens, mask], [helper.make_empty_tensor_value_info("y")], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "text.onnx")
    output = run_cli("macs", tmp_path / "text.onnx", "--json").json
    assert (output["macs"], output["parameters"], output["input"]) == (6 * 8 * 5, 9 * 8 + 8 * 5, [6])
    assert output["uncounted"] == ["com.example::Sparse"]
    assert "a lower bound, without com.example::Sparse" in run_cli("macs", tmp_path / "text.onnx", "--by-layer").out
