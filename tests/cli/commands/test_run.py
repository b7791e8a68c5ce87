import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdbench.errors import DivergedError, StorageError
from kdbench.recipe import Recipe
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.results import RunResults

RECIPE = """
name = "tiny"
data = { name = "digits" }
teacher = [{ name = "teacher", model = "mlp" }]
student = [{ name = "student", model = "mlp" }]
"""


@pytest.fixture
def pipeline(monkeypatch, record):
    """A pipeline that trains nothing, notes what it was asked for and returns a record."""
    calls: list[SimpleNamespace] = []

    def run(recipe, out, *, resume, progress, command, targets=()):
        calls.append(SimpleNamespace(recipe=recipe, out=out, resume=resume, command=command))
        progress.stage("train teacher", 1, 1)
        progress.step(1, 2, "epoch 1")
        folder = Path("runs/tiny-1")
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("report.md", "report.html"):
            (folder / name).touch()
        return RunResults(RunFolder(folder), record, {})

    def train(recipe, out, *, resume, progress):
        return run(recipe, out, resume=resume, progress=progress, command=None).folder.path

    # Not the real module: importing it takes seconds, and what it does is tested beside it.
    fake = SimpleNamespace(calls=calls, run_recipe=run, train=train)
    for module in ("run", "train"):
        monkeypatch.setitem(sys.modules, f"kdbench.workflows.{module}", fake)
        monkeypatch.setattr(f"kdbench.workflows.{module}", fake, raising=False)
    return fake


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def test_a_run_ends_with_the_table_and_the_path_of_the_report(run_cli, pipeline, recipe):
    ended = run_cli("run", recipe)
    assert ended.code == 0
    assert "teacher" in ended.out
    *_, written, following = ended.out.splitlines()
    assert written == "report: runs/tiny-1/report.md and runs/tiny-1/report.html"
    assert following.startswith("next: kdbench ready runs/tiny-1 --target ")
    assert "[1/1] train teacher" in ended.err


def test_json_is_the_record_and_the_folder_and_nothing_else(run_cli, pipeline, recipe, record):
    ended = run_cli("run", recipe, "--json")
    assert json.loads(ended.out) == {**record.to_json(), "folder": "runs/tiny-1"}


def test_quiet_shows_no_progress(run_cli, pipeline, recipe):
    assert run_cli("run", recipe, "--quiet").err == ""


@pytest.mark.parametrize("command", ["run", "train"])
def test_options_reach_the_pipeline(run_cli, pipeline, recipe, command):
    line = [command, str(recipe), "--set", "training.epochs=3", "--set", "seeds=[1, 2]", "--out", "x y", "--resume"]
    assert run_cli(*line).code == 0
    (call,) = pipeline.calls
    assert isinstance(call.recipe, Recipe)
    assert (call.recipe.training.epochs, call.recipe.seeds) == (3, (1, 2))
    assert (call.out, call.resume) == (Path("x y"), True)


def test_a_run_is_told_the_command_that_re_creates_it(run_cli, pipeline, recipe):
    run_cli("run", recipe, "--set", "seeds=[1, 2]")
    assert pipeline.calls[0].command == f"kdbench run {recipe} --set 'seeds=[1, 2]'"


def test_without_a_recipe_digits_is_run(run_cli, pipeline):
    assert run_cli("run").code == 0
    assert pipeline.calls[0].recipe.name == "digits"


def test_train_names_the_folder(run_cli, pipeline, recipe):
    assert run_cli("train", recipe).out == "trained models: runs/tiny-1\n"
    assert run_cli("train", recipe, "--json").json == {"folder": "runs/tiny-1"}


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize(
    ("written", "overrides", "message", "hint"),
    [
        ("", (), "is empty", "kdbench list recipes"),
        ("name = ", (), "not valid TOML", "line"),
        (RECIPE + "epocs = 3", (), "unknown key 'epocs'", "known here"),
        (RECIPE.replace("data =", "dta ="), (), "unknown key 'dta'", "did you mean 'data'?"),
        (RECIPE, ("training.epocs=3",), "unknown key", "did you mean 'epochs'?"),
        (RECIPE, ("training.epochs=none",), "training.epochs", "docs/recipes.md"),
        (RECIPE, ("training.epochs",), "not of the form key=value", "training.epochs=5"),
        (RECIPE, ("student.studnt.ce_weight=1",), "no item 'studnt'", "student"),
        (RECIPE, ("student.0.teacher=teecher",), "'teecher'", "docs/recipes.md"),
    ],
)
def test_a_wrong_recipe_is_explained_before_anything_starts(
    run_cli, pipeline, recipe, command, written, overrides, message, hint
):
    recipe.write_text(written)
    ended = run_cli(command, recipe, *(word for override in overrides for word in ("--set", override)))
    assert ended.code == 3
    assert message in ended.err
    assert hint in ended.err.partition("hint: ")[2]
    assert not pipeline.calls


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [("dgits", "unknown recipe", "did you mean 'digits'?"), ("gone.toml", "no recipe at gone.toml", "digits")],
)
def test_an_unknown_recipe_names_the_nearest(run_cli, pipeline, name, message, hint):
    ended = run_cli("run", name)
    assert ended.code == 3
    assert message in ended.err
    assert hint in ended.err


def test_a_binary_file_is_no_recipe(run_cli, pipeline, recipe):
    recipe.write_bytes(b"\x08\xff\xfe")
    ended = run_cli("run", recipe)
    assert ended.code == 3
    assert "cannot be read as a recipe" in ended.err


@pytest.mark.parametrize("error", [DivergedError("the loss is nan", "lower the rate"), StorageError("disk", "free it")])
def test_what_stops_the_pipeline_is_told_with_its_hint(run_cli, pipeline, recipe, monkeypatch, error):
    def run(*_, **__):
        raise error

    monkeypatch.setattr(pipeline, "run_recipe", run)
    ended = run_cli("run", recipe)
    assert ended.code == 3
    assert ended.err.endswith(f"error: {error.message}\nhint: {error.hint}\n")
