"""Ready models whose weights are described as for other inputs or classes: what may start from them, or be one."""

import json
import shutil

import numpy as np
import pytest
import tomli_w
import torch
from safetensors.torch import load_file, save_file

from kdbench import models
from kdbench.errors import InputError
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.train import train

CONVNET = {"name": "convnet", "widths": [16]}
OWN = {"mean": [0.4], "std": [0.2], "scale": 255, "labels": ["ape", "cat", "dog"]}
READY = {"weights": "t.safetensors", "training": {"epochs": 0}}
PRUNED = {"prune": {"macs": 0.6, "round_to": 1}}


@pytest.fixture
def network():
    torch.manual_seed(3)
    return models.build("convnet", (1, 8, 8), 3, widths=[16])


@pytest.fixture
def trained(tmp_path, network):
    """Train a recipe with a student beside a ready teacher whose file is `described` so, by its sidecar."""
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    arrays = {"x_train": images, "y_train": np.arange(60) % 3, "x_test": images, "y_test": np.arange(60) % 3}
    np.savez(tmp_path / "data.npz", **arrays, class_names=np.array(["ape", "cat", "dog"]))
    save_file(network.state_dict(), tmp_path / "t.safetensors")

    def train_with(student, described, **options):
        (tmp_path / "t.toml").write_text(tomli_w.dumps(described))
        content = {
            "name": "described",
            "folder": str(tmp_path),
            "data": {"name": "npz:data.npz", "mean": [0.4], "std": [0.2]},
            "training": {"epochs": 1, "batch": 30, "threads": 1, "optimizer": {"lr": 1e-9}, "keep": "last"},
            "teacher": {"name": "t", "model": CONVNET, "weights": "t.safetensors"},
            "student": {"name": "s", **({"model": CONVNET} if "prune" not in student else {}), **student},
        }
        return RunFolder(train(recipe_from(content), tmp_path / "out", **options))

    return train_with


def weights_of(folder):
    return load_file(folder.checkpoint("s") / "weights.safetensors")


OTHERS = [{**OWN, "mean": [0.5]}, {**OWN, "size": 16}, {**OWN, "labels": ["ape", "dog", "cat"]}]


@pytest.mark.parametrize("described", OTHERS)
@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"start": {"share": 1.0}}, "student 's' starts from 't', whose input or classes differ"),
        ({"start": {"share": 0.5}, "quantize": {}}, "student 's' starts from 't'"),
        (PRUNED, "student 's' is pruned from 't', whose input or classes differ"),
        (READY, "student 's' is not trained, and the input or the classes of its file differ"),
    ],
)
def test_weights_for_other_inputs_or_classes_are_not_used_as_they_are(trained, tmp_path, student, message, described):
    if "prune" in student:
        pytest.importorskip("torch_pruning", reason="the extra prune is not installed")
    with pytest.raises(InputError, match=message):
        trained(student, described)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("student", [{"start": {"share": 1.0, "batch_norm": "mix"}}, READY])
def test_weights_that_are_described_as_the_data_are_used(trained, network, student):
    """The student is the teacher, whose loss an independent pass gives."""
    folder = trained(student, OWN)
    summary = json.loads((folder.checkpoint("s") / "training.json").read_text())["training"]
    assert summary["epochs"] == (1 if "start" in student else 0)
    for name, value in network.named_parameters():
        torch.testing.assert_close(weights_of(folder)[name], value, atol=1e-6, rtol=0)


def test_a_student_is_pruned_from_weights_that_are_described_as_the_data(trained):
    pytest.importorskip("torch_pruning", reason="the extra prune is not installed")
    assert (trained(PRUNED, OWN).checkpoint("s") / "pruning.json").exists()


def test_other_names_of_the_classes_are_other_targets_of_a_ready_teachers_students(trained, tmp_path):
    """As a student that is trained from the beginning; its labels are the same, and so is the teacher's file."""
    learns = {"terms": [{"method": "kd"}], "training": {"optimizer": {"lr": 0.05}}}
    first = weights_of(trained(learns, OWN))
    with np.load(tmp_path / "data.npz") as archive:
        arrays = {**archive, "class_names": np.array(["dog", "ape", "cat"])}
    np.savez(tmp_path / "data.npz", **arrays)
    resumed = weights_of(trained(learns, OWN, resume=True))
    shutil.rmtree(tmp_path / "out")
    anew = weights_of(trained(learns, OWN))
    assert all(torch.equal(resumed[name], anew[name]) for name in anew)
    assert any(not torch.equal(first[name], anew[name]) for name in anew)
