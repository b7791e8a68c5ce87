"""Models that exist: used as they are, or trained further."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kdbench import models
from kdbench.data.dataset import Dataset, Split
from kdbench.errors import InputError
from kdbench.progress import Silent
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.export import export_all
from kdbench.workflows.study import run_data
from kdbench.workflows.study.plan import plan
from kdbench.workflows.train import train

CONVNET = {"name": "convnet", "widths": [4]}


class Notes(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(autouse=True)
def dataset(monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int64) % 3
    images = rng.integers(0, 255, (60, 1, 8, 8)).astype(np.uint8)
    made = Dataset("noise", ("a", "b", "c"), Split(images, labels), Split(images, labels), (0.5,), (0.3,), "made up")
    monkeypatch.setattr(run_data.data, "load", lambda *_, **__: made)
    return made


def network(classes=3, seed=7):
    torch.manual_seed(seed)
    return models.build("convnet", (1, 8, 8), classes, widths=[4])


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "t.safetensors"
    save_file(network().state_dict(), path)
    return path


def recipe(teacher, *students, **keys):
    return recipe_from(
        {
            "name": "ready",
            "data": {"name": "noise", "validation": 0.2},
            "training": {"epochs": 1, "batch": 16, "threads": 1},
            "teacher": {"name": "t", "model": CONVNET, **teacher},
            "student": [{"name": "s", "model": CONVNET, **student} for student in students],
            **keys,
        }
    )


KD = {"terms": [{"method": "kd", "temperature": 2.0, "kd_weight": 1.0}], "ce_weight": 0.0}


def test_a_ready_teacher_is_not_trained_and_teaches_as_it_is(weights, tmp_path):
    study = recipe({"weights": str(weights)}, {**KD, "training": {"keep": "last"}})
    folder = RunFolder(train(study, tmp_path / "out"))
    kept = load_file(folder.checkpoint("t") / "weights.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in network().state_dict().items())
    summary = json.loads((folder.checkpoint("t") / "training.json").read_text())
    assert summary["training"]["epochs"] == 0

    # The card says where the weights came from, and of no training.
    data = run_data.load_run_data(study)
    cards = {export.card.id: export.card for export in export_all(study, plan(study), data, folder, Silent())}
    assert cards["t"].training is None
    assert cards["t"].origin.file == "t.safetensors"
    assert len(cards["t"].origin.sha256) == 64
    assert cards["s"].training.epochs == 1
    assert cards["s"].origin is None


def test_a_loss_that_an_independent_loop_computes(weights, dataset, tmp_path):
    """One step of all samples with a rate of almost 0: the loss is that of the fresh student beside the teacher."""
    training = {"batch": 48, "optimizer": {"lr": 1e-12, "momentum": 0.0}, "keep": "last"}
    study = recipe({"weights": str(weights)}, {**KD, "training": training, "cache": "off"})
    folder = RunFolder(train(study, tmp_path / "out"))
    summary = json.loads((folder.checkpoint("s") / "training.json").read_text())

    part = run_data.load_run_data(study).train
    inputs = torch.from_numpy((part.inputs.astype(np.float32) / 255 - 0.5) / np.float32(0.3))
    student, teacher = network(seed=0).train(), network().eval()
    with torch.no_grad():
        of_student = torch.log_softmax(student(inputs) / 2, 1)
        of_teacher = torch.log_softmax(teacher(inputs) / 2, 1)
    expected = 4 * (of_teacher.exp() * (of_teacher - of_student)).sum(1).mean()
    assert len(part) == 48
    assert summary["training"]["curve"][0]["train_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_the_content_of_the_file_counts_and_not_its_place(weights, tmp_path):
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(weights.read_bytes())
    other = tmp_path / "other.safetensors"
    save_file(network(seed=8).state_dict(), other)

    def keys(path):
        study = recipe({"weights": str(path)}, KD)
        return [job.key(study, "data") for job in plan(study)], study.hash()

    (first, first_hash), (second, _), (third, _) = keys(weights), keys(moved), keys(other)
    assert first == second
    assert not set(first) & set(third)
    assert str(tmp_path) not in json.dumps(recipe({"weights": str(weights)}).published())
    assert first_hash == recipe({"weights": "t.safetensors"}, KD).hash()


def test_models_without_weights_keep_their_keys():
    study = recipe({}, KD)
    assert "weights" not in json.dumps(study.resolved())


def test_a_student_with_a_new_head_is_tuned_and_says_what_was_fresh(tmp_path):
    path = tmp_path / "ten.pth"
    torch.save(network(classes=10).state_dict(), path)
    study = recipe({}, {"weights": str(path), "training": {"optimizer": {"lr": 1e-12}}})
    watch = Notes()
    folder = RunFolder(train(study, tmp_path / "out", progress=watch))
    (note,) = [note for note in watch.notes if "ten.pth" in note]
    trained, original = load_file(folder.checkpoint("s") / "weights.safetensors"), network(classes=10).state_dict()
    head = [name for name in trained if trained[name].shape != original[name].shape]
    assert len(head) == 2
    assert all(name in note for name in head)
    for name, value in trained.items():
        if name not in head and value.is_floating_point() and "running" not in name:
            assert torch.allclose(value, original[name], atol=1e-6), name


def test_a_student_is_quantized_with_the_weights_of_the_file(weights, tmp_path):
    training = {"optimizer": {"lr": 1e-12}}
    study = recipe({}, {"weights": str(weights), "quantize": {}, "training": training})
    folder = RunFolder(train(study, tmp_path / "out"))
    trained = load_file(folder.checkpoint("s") / "weights.safetensors")
    for name, value in network().named_parameters():
        assert torch.allclose(trained[name], value, atol=1e-6), name


def test_a_teacher_with_epochs_of_its_own_is_trained_further(weights, tmp_path):
    study = recipe({"weights": str(weights), "training": {"epochs": 2}})
    folder = RunFolder(train(study, tmp_path / "out"))
    assert json.loads((folder.checkpoint("t") / "training.json").read_text())["training"]["epochs"] == 2


def test_resuming_adopts_again_only_what_changed(weights, tmp_path):
    study = recipe({"weights": str(weights)}, KD)
    train(study, tmp_path / "out")
    again = Notes()
    train(study, tmp_path / "out", resume=True, progress=again)
    assert again.notes == ["t: already trained", "s: already trained"]
    save_file(network(seed=9).state_dict(), weights)
    changed = Notes()
    train(study, tmp_path / "out", resume=True, progress=changed)
    assert "s: already trained" not in changed.notes


@pytest.mark.parametrize(
    ("teacher", "students", "message"),
    [
        ({"training": {"epochs": 0}}, [], "greater than 0 if no file of weights"),
        ({"weights": "missing.safetensors"}, [], "no file|no weights"),
        ({"weights": "t.safetensors"}, [{"weights": "t.safetensors", "training": {"epochs": 0}, **KD}], "has terms"),
        ({}, [{"weights": "t.safetensors", "start": {"share": 0.5}}], "leave out one"),
        ({}, [{"weights": "t.onnx"}], "cannot be trained"),
        ({"weights": "t.onnx"}, [], "leave model out"),
    ],
)
def test_what_does_not_go_together_is_refused(teacher, students, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(recipe(teacher, *students), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_timm_teaches_by_its_logits_and_by_a_layer(tmp_path, monkeypatch):
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    # tests/cli/test_own_networks_doc.py exports such a network, which takes seconds.
    monkeypatch.setattr("kdbench.workflows.study.checks.networks._require_export", lambda *_: None)
    torch.manual_seed(1)
    teacher = timm.create_model("test_resnet", in_chans=1, num_classes=3).eval()
    torch.save({"state_dict": teacher.state_dict()}, tmp_path / "timm.pth")
    hint = {"method": "hint", "teacher_layer": "layer1", "student_layer": "blocks.0"}
    study = recipe(
        {"model": "timm/test_resnet", "weights": str(tmp_path / "timm.pth")},
        {"name": "kd", **KD},
        {"name": "hint", "terms": [hint]},
    )
    folder = RunFolder(train(study, tmp_path / "out"))
    kept = load_file(folder.checkpoint("t") / "weights.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in teacher.state_dict().items())
    objective = json.loads((folder.checkpoint("hint") / "training.json").read_text())["training"]["objective"]
    assert "layer1" in objective
