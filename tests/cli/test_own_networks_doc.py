"""docs/own_networks.md, run as it is written: the recipe, then the notebook, with a smaller teacher."""

import linecache
import re
import shlex
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from libraries import require
from safetensors.torch import save_file

from kdbench.api import study as api
from kdbench.models import MODELS, build
from kdbench.plugins import activate, search
from kdbench.recipe.loading import load_recipe, recipe_of
from kdbench.registry import Registry
from kdbench.results.records import RunRecord
from kdbench.workflows.stages import measure as stage
from kdbench.workflows.train import train

require("timm")

TEXT = (Path(__file__).parents[2] / "docs" / "own_networks.md").read_text()
BANDS, CLASSES = 13, 3


def blocks(title, language):
    """Return the code blocks below a heading, with a smaller network of timm's."""
    (section,) = (part for part in re.split(r"^##+ ", TEXT, flags=re.MULTILINE) if part.startswith(f"{title}\n"))
    blocks = re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [block.replace("timm/resnet18", "timm/test_resnet") for block in blocks]


@pytest.fixture
def study(tmp_path, monkeypatch, short_run):
    """A folder with the arrays and the teacher; latency is not measured, and each network exported once, after all."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, 240)
    signal = rng.normal(0, 3, (CLASSES, BANDS))[labels] * np.linspace(1, 1000, BANDS)
    noise = rng.normal(0, 3, (240, BANDS, 8, 8)) * np.linspace(1, 1000, BANDS)[:, None, None]
    images = (signal[:, :, None, None] + noise).astype(np.float32)
    folder = tmp_path / "study"
    folder.mkdir()
    np.savez(folder / "bands.npz", x_train=images[:180], y_train=labels[:180], x_test=images[180:], y_test=labels[180:])
    torch.manual_seed(0)
    save_file(build("timm/test_resnet", (BANDS, 8, 8), CLASSES).state_dict(), folder / "teacher.safetensors")
    monkeypatch.chdir(tmp_path)
    untimed = partial(stage.BenchModel)
    monkeypatch.setattr(stage, "BenchModel", lambda **values: untimed(**{**values, "timed": False}))
    monkeypatch.setattr("kdbench.workflows.study.checks.networks._require_export", lambda *_: None)
    path = list(sys.path)
    yield folder
    sys.path[:] = path
    sys.modules.pop("mine", None)
    search.set_folders(())
    for name in ("mine", __name__, "__main__"):
        Registry.forget(name)


@pytest.mark.slow
def test_the_recipe(study, run_cli):
    (recipe,) = blocks("From a recipe", "toml")
    (module,) = blocks("From a recipe", "python")
    (command,) = blocks("From a recipe", "sh")
    assert len(recipe.strip().splitlines()) <= 25
    (study / "study.toml").write_text(recipe)
    (study / "mine.py").write_text(module)
    arguments = shlex.split(command.replace("study.toml", "study/study.toml"))[1:]
    ended = run_cli(*arguments, "--set", "measure.energy=off", "-q")
    assert ended.code == 0, ended.err
    record = RunRecord.read("runs/bands")
    teacher, alone, distilled = record.models
    assert teacher.training is None or teacher.training.epochs == 0
    assert alone.input_shape == (BANDS, 8, 8)
    assert {source.name for source in distilled.code} == {"mine.py"}
    assert distilled.code == alone.code
    assert record.find("distilled", "top1").value > 0.8
    assert _trained_again(study, "# a comment\n") == {"alone", "distilled"}


def _trained_again(study, change):
    """Append to the module, resume the training and return the models that are trained again."""
    times = {path.parent.name: path.stat().st_mtime_ns for path in Path("runs/bands").glob("checkpoints/*/*.json")}
    with (study / "mine.py").open("a") as stream:
        stream.write(change)
    train(load_recipe(study / "study.toml", ["measure.energy=off"]), "runs/bands", resume=True)
    return {
        path.parent.name
        for path in Path("runs/bands").glob("checkpoints/*/*.json")
        if path.stat().st_mtime_ns != times[path.parent.name]
    }


@pytest.mark.slow
def test_the_notebook(study, monkeypatch):
    monkeypatch.chdir(study)
    cheap = load_recipe("digits").measure.model_copy(update={"energy": "off"})
    monkeypatch.setattr(api, "recipe_of", lambda recipe: recipe_of(recipe).model_copy(update={"measure": cheap}))
    cells, namespace = blocks("In a notebook", "python"), {"__name__": "__main__"}
    for number, cell in enumerate([cells[0], *cells[:-1]]):  # the first cell runs twice
        run_cell(cell, number, namespace)
    accuracies = eval(cells[-1], namespace)
    assert set(accuracies) == {"teacher", "alone", "distilled"}
    assert accuracies["alone"] > 0.8
    (card,) = (card for card in namespace["run"].record.models if card.id == "alone")
    assert [source.name for source in card.code] == ["__main__:Small"]


def run_cell(cell, number, namespace):
    file = f"<cell {number}>"
    linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
    exec(compile(cell, file, "exec"), namespace)


def test_the_transform(tmp_path):
    from kdbench.data.transforms import Transforming
    from kdbench.recipe import Transform

    (source,) = blocks("Transforms", "python")
    (tmp_path / "mine.py").write_text(source)
    activate((), str(tmp_path))
    changed = Transforming(Transform(name="mine:jitter", strength=0.5), 0)(torch.zeros(4, BANDS, 8, 8), 0, 0)
    assert 0.4 < float(changed.std()) < 0.6
    sys.modules.pop("mine")
    search.set_folders(())
    assert "mine:jitter" not in MODELS.names()
