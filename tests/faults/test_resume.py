"""A small part of `python -m benchmarks.faults resume`: damaged files of a complete training."""

import shutil

import pytest

from benchmarks.faults.blocks import resume
from kdbench.cli.main import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with a complete training."""
    place = tmp_path_factory.mktemp("base")
    (place / "nets.py").write_text(resume.NETWORK)
    (place / "r.toml").write_text(resume.RECIPE.replace("epochs = 12", "epochs = 1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("KDBENCH_CACHE", str(place / "cache"))
        assert main(["train", "r.toml", "--out", "out"]) == 0
    return place


DAMAGE = {
    "checkpoints/student/training.json": (lambda content: content.replace(b'"epochs": 1', b'"epochs": 2'), 3),
    "checkpoints/teacher/training.json": (lambda _: b"[]", 3),
    "checkpoints/teacher/weights.safetensors": (lambda content: content[:-1] + bytes([content[-1] ^ 1]), 3),
    "code.json": (lambda _: b'{"student": [1]}', 3),
    "recipe.json": (lambda content: content[:100], 3),
    "checkpoints/student/curve.csv": (lambda _: b"\xff", 0),
}


@pytest.mark.parametrize("file", DAMAGE)
def test_a_damaged_file_is_refused_or_made_again(trained, file, tmp_path, monkeypatch, capsys):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_CACHE", str(trained / "cache"))
    expected, path = resume.results(trained / "out"), tmp_path / "out" / file
    damage, code = DAMAGE[file]
    path.write_bytes(damage(path.read_bytes()))
    assert main(["train", "r.toml", "--out", "out", "--resume"]) == code
    assert code == 0 or path.name in capsys.readouterr().err
    if code == 0:
        assert resume.results(tmp_path / "out") == expected
