import json
from types import SimpleNamespace

import pytest
import torch

from kdbench.distill.training import fit
from kdbench.export.onnx import Parity
from kdbench.results.run_folder import RunFolder, card_path
from kdbench.workflows.stages.export import WrittenModel
from kdbench.workflows.sweeping.existing import PartFolder, former_names, is_done, rename_trainings, write_export


@pytest.fixture
def folder(tmp_path):
    """Complete trainings, each with a model file that holds its key."""

    def make(**keys):
        for name, key in keys.items():
            place = tmp_path / "checkpoints" / name
            place.mkdir(parents=True)
            (place / "training.json").write_text(json.dumps({"key": key}))
            (tmp_path / "models").mkdir(exist_ok=True)
            (tmp_path / "models" / f"{name}.onnx").write_text(key)
        return RunFolder(tmp_path)

    return make


def held(folder):
    """What each training and each model file is of."""
    keys = {p.parent.name: json.loads(p.read_text())["key"] for p in folder.path.glob("checkpoints/*/training.json")}
    assert {path.stem: path.read_text() for path in folder.path.glob("models/*.onnx")} == keys
    return keys


def test_a_training_keeps_its_results_under_another_name(folder):
    one = folder(student="A", teacher="T")
    names = former_names({"student-seed0": "A", "student-seed1": "B", "teacher": "T"}, one)
    assert names == {"student-seed0": "student"}
    rename_trainings(names, one)
    assert held(one) == {"student-seed0": "A", "teacher": "T"}
    assert not former_names({"student-seed0": "A", "student-seed1": "B", "teacher": "T"}, one)


def test_two_trainings_may_exchange_their_names(folder):
    one = folder(a="A", b="B", c="C")
    rename_trainings(former_names({"a": "B", "b": "A", "c": "C"}, one), one)
    assert held(one) == {"a": "B", "b": "A", "c": "C"}


def test_a_training_of_another_key_makes_room(folder):
    one = folder(a="OLD", b="A")
    rename_trainings(former_names({"a": "A"}, one), one)
    assert held(one) == {"a": "A"}


def test_an_interrupted_renaming_goes_on(folder):
    one = folder(a="A")
    (one.path / "checkpoints" / "a").rename(one.path / "checkpoints" / ".moving-b")
    (one.path / "models" / "a.onnx").rename(one.path / "models" / ".moving-b.onnx")
    rename_trainings(former_names({"b": "A"}, one), one)
    assert held(one) == {"b": "A"}


def test_of_two_equal_trainings_each_keeps_its_own(folder):
    one = folder(a="A", b="A")
    assert not former_names({"a": "A", "b": "A"}, one)


def test_what_is_no_training_is_left_alone(folder):
    one = folder(a="A")
    (one.path / "checkpoints" / "half").mkdir()
    (one.path / "checkpoints" / "damaged").mkdir()
    (one.path / "checkpoints" / "damaged" / "training.json").write_text("{")
    assert former_names({"b": "A", "half": "H"}, one) == {"b": "a"}
    assert former_names({"b": "A"}, RunFolder(one.path / "nowhere")) == {}


def test_a_model_without_a_readable_card_is_not_done(tmp_path):
    folder, job = RunFolder(tmp_path), SimpleNamespace(id="kd", logits=None, part=None, entry=None)
    fit.adopt(torch.nn.Linear(1, 1), folder.checkpoint("kd"), "key", seed=0)
    folder.model("kd").parent.mkdir()
    folder.model("kd").write_bytes(b"model")
    write_export(job, "key", WrittenModel(Parity(max_abs=0.0, tolerance=1e-3, samples=1), 2), folder)
    assert not is_done(job, "key", folder)
    for content, done in (('{"id":', False), ('{"id": "kd"}', True)):
        card_path(folder.model("kd")).write_text(content)
        assert is_done(job, "key", folder) is done


@pytest.fixture
def part(tmp_path):
    """A measured part."""
    one = PartFolder(tmp_path)
    one.record.write_text('{"kind": "run"}')
    one.samples.write_bytes(b"an archive")
    assert not one.is_complete()
    one.complete(["student"])
    return one


@pytest.mark.parametrize("name", ["record.json", "samples.npz", "part.json"])
def test_a_part_whose_files_are_lost_or_damaged_is_measured_again(part, name):
    assert part.is_complete()
    content = (part.path / name).read_bytes()
    for damaged in (content[:9], b"", None):
        (part.path / name).write_bytes(damaged) if damaged is not None else (part.path / name).unlink()
        assert not part.is_complete()
    (part.path / name).write_bytes(content)
    assert part.is_complete()


def test_a_part_of_an_earlier_version_is_kept(part):
    part.ids.write_text('{"models": ["student"]}')
    assert part.is_complete()
    part.record.unlink()
    assert not part.is_complete()
