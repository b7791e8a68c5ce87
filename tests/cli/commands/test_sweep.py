import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.results import RunResults

RECIPE = """
name = "tiny"
data = { name = "digits" }
teacher = [{ name = "teacher", model = "mlp" }]
student = [{ name = "student", model = "mlp", terms = [{ method = "kd" }] }]
"""
FAULT = SimpleNamespace(message="the loss is not finite", hint="lower the rate", internal=False)


class Results(RunResults):
    points, completed, failed, exit_code = 2, 2, {}, 0


@pytest.fixture
def pipeline(monkeypatch, record):
    """A sweep that trains nothing and notes what it was asked for."""
    fake = SimpleNamespace(calls=[], results=Results(RunFolder(Path("runs/tiny-1")), record, {}))

    def run(swept, out, **options):
        fake.calls.append(SimpleNamespace(recipe=swept.recipe, values=swept.values, out=out, **options))
        return fake.results

    def outline(swept, out, **options):
        run(swept, out, **options)
        return SimpleNamespace(lines=lambda: ["sweep: 2 points"], to_json=lambda: {"points": 2})

    fake.sweep_recipe, fake.outline_sweep = run, outline
    monkeypatch.setitem(sys.modules, "kdbench.workflows.sweep", fake)
    monkeypatch.setattr("kdbench.workflows.sweep", fake, raising=False)
    return fake


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def test_options_reach_the_sweep(run_cli, pipeline, recipe):
    line = ["--axis", "terms.0.temperature=1,4", "--axis", "training.epochs=2,3", "--seeds", "2", "--out", "x y"]
    assert run_cli("sweep", recipe, *line, "--set", "training.batch=16").code == 0
    (call,) = pipeline.calls
    assert call.values == {"terms.0.temperature": [1, 4], "training.epochs": [2, 3]}
    assert (call.recipe.seeds, call.recipe.training.batch, len(call.recipe.student)) == ((0, 1), 16, 4)
    assert (call.out, call.on, call.measure_on, call.resume) == (Path("x y"), "local", None, False)
    assert call.command.startswith("kdbench sweep")


def test_a_cluster_and_the_nodes_that_measure_are_named(run_cli, pipeline, recipe):
    line = ["--axis", "ce_weight=0,1", "--on", "ray://head:10001", "--measure-on", "device=pi5"]
    assert run_cli("sweep", recipe, *line).code == 0
    assert run_cli("sweep", recipe, *line, "--dry-run").code == 0
    assert [(call.on, call.measure_on) for call in pipeline.calls] == [("ray://head:10001", "device=pi5")] * 2


def test_axes_of_the_command_line_are_added_to_those_of_the_recipe(run_cli, pipeline, recipe):
    recipe.write_text(RECIPE + '\n[sweep]\naxes = { ce_weight = [0, 1], "training.epochs" = [7, 8] }\n')
    assert run_cli("sweep", recipe, "--axis", "training.epochs=2,3").code == 0
    assert pipeline.calls[0].values == {"ce_weight": [0, 1], "training.epochs": [2, 3]}


def test_a_dry_run_says_what_would_be_done(run_cli, pipeline, recipe):
    ended = run_cli("sweep", recipe, "--axis", "ce_weight=0,1", "--dry-run")
    assert (ended.code, ended.out) == (0, "sweep: 2 points\n")
    assert run_cli("sweep", recipe, "--axis", "ce_weight=0,1", "--dry-run", "--json").json == {"points": 2}


def test_json_is_the_record_with_the_points(run_cli, pipeline, recipe, record):
    ended = run_cli("sweep", recipe, "--json")
    assert ended.json == {**record.to_json(), "folder": "runs/tiny-1", "points": 2, "completed": 2, "failed": {}}


def test_points_that_did_not_land_are_named_with_how_to_try_again(run_cli, pipeline, recipe):
    results = pipeline.results
    object.__setattr__(results, "completed", 1)
    object.__setattr__(results, "failed", {"student-ce_weight1": FAULT})
    object.__setattr__(results, "exit_code", 3)
    ended = run_cli("sweep", recipe, "--axis", "ce_weight=0,1", "--out", "runs/x")
    assert ended.code == 3
    assert "1 of 2 points are not complete" in ended.err
    assert "student-ce_weight1: the loss is not finite" in ended.err
    assert "lower the rate" in ended.err
    assert "--out runs/x --resume" in ended.err
    assert run_cli("sweep", recipe, "--json").json["failed"] == {
        "student-ce_weight1": {"message": "the loss is not finite", "hint": "lower the rate"}
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--axis", "epochs"], "KEY=V1,V2"),
        (["--axis", "termz=1"], "'termz'"),
        (["--seeds", "0"], "seeds"),
        (["--seeds", "many"], "seeds"),
        (["--axis", "training.epochs=1,x"], "training.epochs"),
        (["--axis", "measure.threads=1,2"], "measure.threads"),
    ],
)
def test_a_wrong_sweep_is_explained_before_anything_starts(run_cli, pipeline, recipe, line, words):
    ended = run_cli("sweep", recipe, *line)
    assert ended.code == 3
    assert words in ended.err
    assert "hint: " in ended.err
    assert not pipeline.calls


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--search", "moon", "--goal", "max top1"], "no optimiser 'moon'"),
        (["--search", "optuna"], "goal"),
        (["--goal", "max topp1"], "did you mean 'top1'"),
        (["--goal", "max top1 where latency_p50_ns <= 2 MB"], "'MB' does not fit here"),
        (["--goal", "max top1", "--trials", "0"], "--trials"),
        ([], "only a search can use"),
    ],
)
def test_what_cannot_be_searched_is_the_users_to_change(run_cli, pipeline, recipe, options, words):
    ended = run_cli("sweep", recipe, "--axis", "ce_weight=0..1 step 0.1", *options)
    assert ended.code == 3
    assert words in ended.err
    assert not pipeline.calls
