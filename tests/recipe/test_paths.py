from pathlib import Path

import pytest

from kdbench.recipe.loading import load_recipe, recipe_from
from kdbench.recipe.paths import located, located_data

TOML = 'name = "tiny"\ndata = { name = "npz:x.npz" }\n[[teacher]]\nname = "t"\nmodel = "mlp"\n'


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A folder of a recipe and the working directory."""
    study, working = tmp_path / "study", tmp_path / "working"
    study.mkdir()
    working.mkdir()
    monkeypatch.chdir(working)
    return study, working


def test_a_path_is_relative_to_the_recipe(folders):
    study, working = folders
    (study / "both").touch()
    (working / "both").touch()
    assert located("both", str(study)) == study / "both"
    assert located("neither", str(study)) == study / "neither"
    assert located(str(working / "both"), str(study)) == working / "both"


def test_what_is_only_in_the_working_directory_is_used_there(folders):
    study, working = folders
    (working / "here").touch()
    assert located("here", str(study)) == Path("here")
    assert located("here", None) == Path("here")
    assert located("here", str(working)) == Path("here")


def test_only_names_with_a_path_are_located(folders):
    study, _ = folders
    (study / "digits").touch()
    assert located_data("digits", str(study)) == "digits"
    assert located_data("npz:x.npz", str(study)) == f"npz:{study / 'x.npz'}"
    assert located_data("folder:photos", str(study)) == f"folder:{study / 'photos'}"


def test_a_recipe_knows_its_folder_which_does_not_change_its_hash(folders):
    study, working = folders
    (study / "a.toml").write_text(TOML)
    (working / "a.toml").write_text(TOML)
    beside, here = load_recipe(study / "a.toml"), load_recipe("a.toml")
    assert (beside.folder, here.folder) == (str(study), str(working))
    assert recipe_from(beside.resolved()).located("x") == study / "x"
    assert beside.hash() == here.hash()
    assert load_recipe("digits").folder is None
    assert "folder" not in load_recipe("digits").resolved()
