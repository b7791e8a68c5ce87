"""User code in a run: what trains again when it changes, and what several processes know of it."""

import sys
from textwrap import dedent

import pytest

from kdbench.errors import InputError
from kdbench.files.storage import sha256
from kdbench.plugins import Recording, Source, search
from kdbench.recipe.loading import load_recipe, recipe_from
from kdbench.registry import Lookup, Registry
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.user_code import planned_job, read_code, require_known_everywhere, write_code
from kdbench.workflows.train import train

CONTENT = {
    "name": "tiny",
    "data": {"name": "digits", "subset": {"first_per_class": 8}},
    "training": {"epochs": 1, "threads": 1, "device": "cpu"},
    "teacher": [{"name": "t", "model": "dense"}, {"name": "u", "model": "dense"}],
    "student": [
        {"name": "kd", "model": "dense", "teacher": "t", "terms": {"method": "kd"}},
        {"name": "alone", "model": "dense", "teacher": "t"},
    ],
}
CODE = {"t": {Source("mynets.py", "1"): None}}


def keys(code):
    recipe = recipe_from(CONTENT)
    return {job.id: job.key(recipe, "data") for job in plan(recipe, code)}


def test_code_counts_for_the_models_that_use_it_and_those_that_learn_from_them():
    plain, with_code = keys({}), keys(CODE)
    assert {name for name in plain if plain[name] != with_code[name]} == {"t", "kd"}
    assert keys(CODE) == with_code
    assert keys({"t": {Source("mynets.py", "2"): None}})["kd"] != with_code["kd"]


def test_the_folder_tells_other_processes_of_the_code(tmp_path):
    folder = RunFolder(tmp_path)
    assert read_code(folder) == {}
    write_code(CODE, folder)
    assert read_code(folder) == CODE
    write_code({}, folder)
    assert read_code(folder) == {}


@pytest.mark.parametrize("content", ["[]", '{"kd": 1}', '{"kd": [["net.py"]]}', '{"kd": [["net.py", 1, null]]}', "{"])
def test_a_damaged_list_of_sources_is_refused(tmp_path, content):
    folder = RunFolder(tmp_path)
    folder.code.write_text(content)
    with pytest.raises(InputError, match=r"code\.json"):
        read_code(folder)


@pytest.mark.parametrize("changed", ["net.py", "method.py", "weights.npy"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_process_refuses_any_file_that_changed_since_the_run_started(tmp_path, changed, gone):
    files = {name: tmp_path / name for name in ("net.py", "method.py", "weights.npy")}
    for file in files.values():
        file.write_text(file.name)
    located = {name: {Source(name, sha256(file)): file} for name, file in files.items()}
    folder, recipe = RunFolder(tmp_path), recipe_from(CONTENT)
    code = {"kd": {**located["net.py"], **located["method.py"]}, "t": located["weights.npy"]}
    write_code(code, folder)
    assert planned_job(recipe, "kd", folder).code == tuple(code["kd"])
    if gone:
        files[changed].unlink()
    else:
        files[changed].write_text("changed")
    with pytest.raises(InputError, match=f"{changed} changed since the run started"):
        planned_job(recipe, "kd", folder)
    assert planned_job(recipe, "u", folder).code == ()


@pytest.mark.parametrize(
    ("name", "module", "refused"),
    [
        ("net", "__main__", True),
        ("net", "a_notebook", True),
        ("net", __name__, True),
        ("net", "torch", False),
        ("__main__:Net", "__main__", True),
        ("mynets:Net", "mynets", False),
    ],
)
def test_what_other_processes_cannot_import_is_refused(name, module, refused):
    recipe = recipe_from({**CONTENT, "training": {"devices": 2, "device": "cpu"}})
    use = Lookup("model", name, object, module)
    recordings = {"t": Recording((use,)), **{name: Recording() for name in ("u", "kd", "alone")}}
    arguments = (recipe, plan(recipe), recordings, Recording())
    if not refused:
        require_known_everywhere(*arguments)
        return
    with pytest.raises(InputError, match="other processes cannot import") as caught:
        require_known_everywhere(*arguments)
    assert 'plugins = ["mynets.py"]' in caught.value.hint
    alone = recipe_from(CONTENT)
    require_known_everywhere(alone, plan(alone), recordings, Recording())


NETS = """
    from pathlib import Path
    import torch
    from kdbench.models import MODELS
    from torch import nn
    @MODELS.register("own-net")
    class Net(nn.Module):
        def __init__(self, num_classes, channels, start):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, num_classes))
            self.body[1].load_state_dict(torch.load(start, weights_only=True))
        def forward(self, x):
            return self.body(x)
"""
RECIPE = """
    name = "tiny"
    plugins = ["mynets.py"]
    data = { name = "digits", subset = { first_per_class = 8 } }
    training = { epochs = 1, threads = 1, device = "cpu" }
    [[teacher]]
    name = "teacher"
    model = { name = "mynets:Net", start = "a.pth" }
    [[student]]
    name = "student"
    model = { name = "own-net", start = "./b.pth" }
    [[student]]
    name = "plain"
    model = { name = "dense", hidden = [4] }
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    import torch

    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "mynets.py").write_text(dedent(NETS))
    for number, name in enumerate(("a.pth", "b.pth")):
        torch.manual_seed(number)
        torch.save(torch.nn.Linear(64, 10).state_dict(), folder / name)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield folder
    sys.path[:] = path
    sys.modules.pop("mynets", None)
    Registry.forget("mynets")
    search.set_folders(())


@pytest.mark.slow
def test_a_resumed_run_trains_again_what_uses_changed_code_or_files(study, tmp_path):
    import torch

    (study / "tiny.toml").write_text(dedent(RECIPE))

    def trained():
        before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/checkpoints/*/training.json")}
        train(load_recipe(study / "tiny.toml"), tmp_path / "out", resume=True)
        after = tmp_path.glob("out/checkpoints/*/training.json")
        return {path.parent.name for path in after if path.stat().st_mtime_ns != before.get(path)}

    train(load_recipe(study / "tiny.toml"), tmp_path / "out")
    assert trained() == set()
    torch.save(torch.nn.Linear(64, 10).state_dict(), study / "b.pth")
    assert trained() == {"student"}
    (study / "mynets.py").write_text(
        dedent(NETS).replace("nn.Flatten()", "nn.Flatten(), nn.Identity()").replace("[1]", "[2]")
    )
    assert trained() == {"teacher", "student"}
    assert {source.name for source in read_code(RunFolder(tmp_path / "out"))["student"]} == {"mynets.py", "b.pth"}
