"""Wrong input, end to end through the real stages: a message, a hint and exit code 3, and nothing lost."""

import errno
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

RECIPE = """
name = "tiny"
data = { name = "digits" }
training = { epochs = 1 }
measure = { budget_s = 1, sessions = 2, energy = "off" }
[[teacher]]
name = "teacher"
model = "64-10"
[[student]]
name = "student"
model = "64-10"
terms = [{ method = "kd" }]
"""


def linear(path: Path, *, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10, weight: float = 0.5) -> Path:
    """Write an ONNX file that flattens its input and multiplies it with constant weights."""
    weights = np.full((int(np.prod(shape)), classes), weight, np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def assert_explained(ended, message: str, hint: str) -> None:
    assert ended.code == 3, ended.err
    error, _, hinted = ended.err.partition("error: ")[2].partition("\nhint: ")
    assert message in error
    assert hint in hinted
    assert "Traceback" not in ended.err


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("data.name=digts", "unknown data set 'digts'", "did you mean 'digits'?"),
        ("data.name=mnist", "mnist", "KDBENCH_DATA"),
        ("data.name=folder:/no/such", "/no/such", ""),
        ("data.name=npz:/no/such.npz", "/no/such.npz", ""),
        ("teacher.0.model=vgg11_bnn", "unknown model 'vgg11_bnn'", "did you mean 'vgg11_bn'?"),
        ("student.0.model.widht=3", "unknown option 'widht'", ""),
        ("student.0.terms.0.method=kdd", "unknown method 'kdd'", "did you mean 'kd'?"),
        ("student.0.terms.0.temprature=4", "temprature", "did you mean 'temperature'?"),
        ("student.0.model=784-10", "784", "64"),
        ("student.0.model=64-30-100", "100", "10"),
    ],
)
def test_a_recipe_that_asks_for_what_is_not_there(run_cli, recipe, tmp_path, override, message, hint):
    ended = run_cli("run", recipe, "--set", override, "--out", tmp_path / "out", "--quiet")
    assert_explained(ended, message, hint)
    assert not list((tmp_path / "out").rglob("*.onnx"))


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        (
            "measure.mode=fast",
            "measure.mode.0: 'fast' should be 'stream', 'paced', 'offline' or 'server'",
            "recipes.md",
        ),
        ("measure.mode=server", "mode 'server' needs rate_per_s", "recipes.md"),
        ("measure.gap_ms=0", "measure.gap_ms", "recipes.md"),
        ("measure.cores=[]", "measure.cores: name at least one", "recipes.md"),
        ("measure.cores=[99999]", "core 99999", "it may use"),
        ("measure.precision=2", "measure.precision", "recipes.md"),
        ("measure.batch=[1]", "measure.batch.0", "larger batches"),
        ("measure.runtime=tensorrt", "measure.runtime.0", "recipes.md"),
    ],
)
def test_a_measuring_that_cannot_be_is_refused_before_anything_is_trained(
    run_cli, recipe, tmp_path, override, message, hint
):
    ended = run_cli("run", recipe, "--set", override, "--out", tmp_path / "out", "--quiet")
    assert_explained(ended, message, hint)
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_stops_the_training(run_cli, recipe, tmp_path):
    fitting = ["--set", "teacher.0.model=64-30-10", "--set", "student.0.model=64-10"]
    ended = run_cli("run", recipe, *fitting, "--set", "training.optimizer.lr=1e6", "--out", tmp_path / "out", "--quiet")
    assert_explained(ended, "teacher", "lr")


def test_a_model_that_is_not_there(run_cli, tmp_path):
    assert_explained(run_cli("bench", tmp_path / "gone.onnx", "--data", "digits"), "gone.onnx", ".onnx")


@pytest.mark.parametrize(
    ("content", "says", "hint"),
    [
        ("nothing", "is an empty file", "again"),
        ("text", "is a text: '# a report'", "download the file itself"),
        ("braces", "is a text: '{one}'", "download the file itself"),
        ("truncated", "model.onnx", "truncated"),
    ],
)
def test_a_file_that_is_no_model(run_cli, tmp_path, content, says, hint):
    path = linear(tmp_path / "model.onnx")
    whole = path.read_bytes()
    texts = {"nothing": b"", "text": b"# a report\n", "braces": b"{one}\n"}
    path.write_bytes({**texts, "truncated": whole[: len(whole) // 2]}[content])
    assert_explained(run_cli("bench", path, "--data", "digits", "--quiet"), says, hint)


@pytest.mark.parametrize(
    ("shape", "classes", "options", "message", "hint"),
    [
        ((3, 32, 32), 10, [], "3x8x8", ""),
        ((1, 8, 8), 100, [], "100 classes", "data set"),
        ((1, 8, 8), 10, ["--mean", ".1,.2,.3"], "3 means", ""),
        ((1, 8, 8), 10, ["--std", "0"], "--std", ""),
        ((1, 8, 8), 10, ["--output", "logit"], "no output 'logit'", "logits"),
        ((1, 8, 8), 10, ["--teacher", "modle"], "teacher 'modle'", "did you mean 'model'?"),
        ((1, 8, 8), 10, ["--data", "digts"], "unknown data set", "did you mean 'digits'?"),
    ],
)
def test_a_model_and_options_that_do_not_fit(run_cli, tmp_path, shape, classes, options, message, hint):
    path = linear(tmp_path / "model.onnx", shape=shape, classes=classes)
    ended = run_cli("bench", path, "--data", "digits", "--out", tmp_path / "out", "--quiet", *options)
    assert_explained(ended, message, hint)
    assert not (tmp_path / "out" / "record.json").exists()


def test_accuracy_without_data(run_cli, tmp_path):
    assert_explained(run_cli("bench", linear(tmp_path / "model.onnx")), "accuracy needs data", "--no-accuracy")
    gone = tmp_path / "mode1.onnx"
    assert_explained(run_cli("bench", gone), f"no model file at {gone}", f"did you mean '{tmp_path / 'model.onnx'}'?")
    assert_explained(run_cli("compress", gone), f"no model file at {gone}", "name an .onnx")


@pytest.mark.parametrize(("command", "word"), [("list", "modles"), ("macs", "ptflop"), ("sweep", "many")])
def test_a_word_that_is_none_of_the_known_ones(run_cli, command, word):
    options = {"list": [word], "macs": ["vgg11_bn", "--convention", word], "sweep": ["digits", "--seeds", word]}
    ended = run_cli(command, *options[command])
    assert_explained(ended, repr(word), "")
    assert "alue error" not in ended.err
    assert "Input should" not in ended.err


@pytest.mark.slow
def test_logits_that_are_no_numbers_fail_after_the_record_is_written(run_cli, tmp_path, short_run):
    path = linear(tmp_path / "model.onnx", weight=float("nan"))
    quick = ["--budget", "1s", "--sessions", "2", "--energy", "off", "--quiet"]
    ended = run_cli("bench", path, "--data", "digits", "--out", tmp_path / "out", *quick)
    assert ended.code == 3
    assert "model" in ended.err
    assert (tmp_path / "out" / "record.json").exists()


@pytest.mark.parametrize("command", ["run", "train", "bench"])
def test_a_folder_that_cannot_be_made(run_cli, recipe, tmp_path, command):
    (tmp_path / "file").touch()
    what = [linear(tmp_path / "model.onnx"), "--data", "digits"] if command == "bench" else [recipe]
    ended = run_cli(command, *what, "--out", tmp_path / "file" / "below", "--quiet")
    assert_explained(ended, "cannot be written", "--out")


@pytest.mark.parametrize("command", ["run", "train"])
def test_a_folder_that_holds_a_run_is_not_written_over(run_cli, recipe, tmp_path, command):
    out = tmp_path / "out"
    out.mkdir()
    (out / "recipe.json").write_text("{}")
    assert_explained(run_cli(command, recipe, "--out", out, "--quiet"), "already holds a run", "--resume")
    assert (out / "recipe.json").read_text() == "{}"


def test_a_full_disk(run_cli, recipe, tmp_path, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    fitting = ["--set", "teacher.0.model=64-10", "--set", "student.0.model=64-10"]
    ended = run_cli("run", recipe, *fitting, "--out", tmp_path / "out", "--quiet")
    assert_explained(ended, "the disk is full", "--resume")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
