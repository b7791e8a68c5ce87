"""`kdbench init`: what it writes is a recipe that says what was asked for."""

import io
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdbench import data
from kdbench.recipe.drafts import DataSet, Draft, Network, draft_text, network_of
from kdbench.recipe.loading import load_recipe, recipe_from
from kdbench.user_input.toml_files import parse

OPTIONS = ("--data", "digits", "--teacher", "resnet20", "--student", "resnet8")


class Terminal(io.StringIO):
    """A terminal that somebody types these lines at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # no terminal


def answer(monkeypatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def test_options_become_a_recipe_for_one_teacher_and_a_student_with_and_without_it(run_cli):
    written = run_cli("init", "My Study.toml", *OPTIONS, "--method", "dkd", "--epochs", "3", "--json").json
    recipe = load_recipe("My Study.toml")
    assert (recipe.name, recipe.data.name, recipe.training.epochs) == ("my-study", "digits", 3)
    assert [(teacher.name, teacher.model.name) for teacher in recipe.teacher] == [("teacher", "resnet20")]
    alone, distilled = recipe.student
    assert (alone.model.name, distilled.model.name) == ("resnet8", "resnet8")
    assert [[term.method for term in one.terms] for one in (alone, distilled)] == [[], ["dkd"]]
    assert written == {"recipe": "My Study.toml", "command": "kdbench run 'My Study.toml'"}


def test_files_are_named_from_where_the_recipe_is(run_cli):
    for name in ("big.onnx", "small.safetensors"):
        Path(name).touch()
    np.savez("set.npz", x_test=np.zeros((4, 3), np.float32), y_test=np.arange(4) % 2)
    Path("mine.py").write_text("def small(num_classes, in_channels):\n    raise NotImplementedError\n")
    Path("studies").mkdir()
    networks = ("--teacher", "big.onnx", "--student", "mine:small=small.safetensors")
    assert run_cli("init", "studies/new.toml", "--data", "npz:set.npz", *networks).code == 0
    recipe = load_recipe("studies/new.toml")
    assert recipe.data.name == "npz:../set.npz"
    assert recipe.teacher[0].weights == "../big.onnx"
    assert recipe.teacher[0].is_ready
    assert {(one.model.name, one.weights) for one in recipe.student} == {("mine:small", "../small.safetensors")}


def test_a_path_from_a_linked_folder_leads_to_the_file(run_cli):
    np.savez("set.npz", x_test=np.zeros((4, 3), np.float32), y_test=np.arange(4) % 2)
    Path("elsewhere/deep").mkdir(parents=True)
    Path("linked").symlink_to("elsewhere/deep")
    arguments = ("--data", "npz:set.npz", "--teacher", "3-2", "--student", "3-2")
    assert run_cli("init", "linked/new.toml", *arguments).code == 0
    found = Path("linked", load_recipe("linked/new.toml").data.name.removeprefix("npz:"))
    assert found.samefile("set.npz")


def test_images_of_several_sizes_become_squares_that_the_networks_fit(run_cli):
    for number, (height, width) in enumerate([(40, 50), (60, 44), (48, 48)] * 2):
        path = Path("photos") / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((height, width, 3), 40 * number, np.uint8)).save(path)
    options = ("--data", "folder:photos", "--teacher", "5808-10-2", "--student", "5808-2")  # 3 x 44 x 44
    assert run_cli("init", "mine.toml", *options).code == 0
    data_options = load_recipe("mine.toml").data
    assert (data_options.resize, data_options.crop) == (44, 44)
    dataset = data.load("folder:photos", resize=data_options.resize, crop=data_options.crop)
    assert dataset.input_shape == (3, 44, 44)
    Path("photos/b/1.png").write_bytes(b"no image")
    assert "1.png is not a readable image" in run_cli("init", "again.toml", *options).err


def test_an_existing_file_stays_as_it_is(run_cli):
    Path("mine.toml").write_text("mine")
    Path("link.toml").symlink_to("nowhere.toml")
    for name in ("mine.toml", "link.toml"):
        assert "exists already" in run_cli("init", name, *OPTIONS).err
    assert Path("mine.toml").read_text() == "mine"
    assert not Path("nowhere.toml").exists()


def test_without_a_terminal_the_hint_is_the_whole_command(run_cli):
    ended = run_cli("init", "mine.toml", "--student", "resnet14", "--epochs", "7")
    assert ended.code == 3
    assert "--data, --teacher:" in ended.err
    assert not Path("mine.toml").exists()
    command = shlex.split(ended.err.partition("hint: ")[2])
    assert run_cli(*command[1:]).code == 0
    recipe = load_recipe("mine.toml")
    assert (recipe.student[0].model.name, recipe.training.epochs) == ("resnet14", 7)


def test_a_terminal_is_asked_for_what_is_missing_until_the_answer_can_be_used(run_cli, monkeypatch):
    answer(monkeypatch, "digts", "digits", "here.onnx", "resnet14", "", "0", "5")
    ended = run_cli("init", "mine.toml", "--teacher", "resnet32")
    assert ended.code == 0, ended.err
    assert "did you mean 'digits'?" in ended.err
    assert "teacher:" not in ended.err  # an option has said it
    recipe = load_recipe("mine.toml")
    assert (recipe.data.name, recipe.teacher[0].model.name) == ("digits", "resnet32")
    assert (recipe.student[1].model.name, recipe.student[1].terms[0].method) == ("resnet14", "kd")
    assert recipe.training.epochs == 5


def test_answers_that_end_too_early_write_nothing(run_cli, monkeypatch):
    answer(monkeypatch, "digits")
    ended = run_cli("init", "mine.toml")
    assert ended.code == 3
    assert not Path("mine.toml").exists()


@pytest.mark.parametrize(
    ("changed", "message", "hint"),
    [
        (("--data", "digts"), "unknown data set 'digts'", "did you mean 'digits'?"),
        (("--data", "npz:gone.npz"), "there is no gone.npz", "name an existing"),
        (("--data", "npz:broken.npz"), "broken.npz", "numpy.savez"),
        (("--data", "folder:empty"), "empty", "a folder of its own"),
        (("--teacher", "resnett20"), "unknown model 'resnett20'", "did you mean"),
        (("--teacher", "resnet21"), "6n+2 layers, not 21", "resnet20"),
        (("--student", "784-10"), "does not fit inputs of 1x8x8", "64-10"),
        (("--teacher", "gone.onnx"), "there is no gone.onnx", "name an existing"),
        (("--teacher", "weights.pth"), "without their network", "MODEL=weights.pth"),
        (("--teacher", "big.pt2"), "a .pt2 file", ".onnx"),
        (("--student", "here.onnx"), "cannot be trained", "resnet8"),
        (("--student", "nowhere:Net"), "nowhere", ""),
        (("--method", "kdd"), "unknown method 'kdd'", "did you mean 'kd'?"),
        (("--epochs", "0"), "--epochs: '0'", "--epochs 3"),
    ],
)
def test_what_cannot_be_used_writes_nothing(run_cli, changed, message, hint):
    Path("here.onnx").touch()
    Path("broken.npz").touch()
    Path("empty").mkdir()
    options = {**dict(zip(OPTIONS[::2], OPTIONS[1::2], strict=True)), changed[0]: changed[1]}
    ended = run_cli("init", "mine.toml", *(word for pair in options.items() for word in pair))
    assert ended.code == 3
    assert message in ended.err
    assert hint in ended.err.partition("hint: ")[2]
    assert not Path("mine.toml").exists()


def test_a_recipe_that_cannot_be_written_needs_another_place(run_cli):
    Path("file").touch()
    ended = run_cli("init", "file/mine.toml", *OPTIONS)
    assert ended.code == 3
    assert "hint: choose another folder for the recipe\n" in ended.err


def test_a_recipe_has_a_toml_file(run_cli):
    assert "mine.toml" in run_cli("init", "mine", *OPTIONS).err


def test_any_name_is_written_as_it_is():
    odd = 'a "b" \\ #c\n.npz'
    network = Network("mine:Net", odd)
    recipe = recipe_from(parse(draft_text(Draft("odd", DataSet(f"npz:{odd}"), network, network, "kd", 1)), "it"), "it")
    assert recipe.data.name == f"npz:{odd}"
    assert recipe.teacher[0].weights == odd


def test_a_network_is_a_model_with_or_without_weights_or_an_onnx_file():
    assert network_of("timm/resnet18", "it") == Network("timm/resnet18")
    assert network_of("mine:Net=a=b.pth", "it") == Network("mine:Net", "a=b.pth")
    assert network_of("big.onnx", "it") == Network(None, "big.onnx")
