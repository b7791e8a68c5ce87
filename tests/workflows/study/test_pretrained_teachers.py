"""Pretrained teachers whose input and classes differ from the students' teach, and are exported and measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import tomli_w
import torch
from file_runs import bench
from safetensors.torch import save_file

from kdbench import models
from kdbench.api.study import run
from kdbench.errors import InputError
from kdbench.export.onnx import export_onnx
from kdbench.progress import Silent
from kdbench.recipe import Measure
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.export import export_all
from kdbench.workflows.study.model_sources import external_files, file_hash
from kdbench.workflows.study.networks import teacher_network
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.run_data import load_run_data
from kdbench.workflows.train import train

pytestmark = pytest.mark.usefixtures("short_run")

MEAN, STD = [0.2, 0.3, 0.4], [0.3, 0.2, 0.25]
LABELS = ["ape", "dog", "zebra", "cat"]
COLUMNS = [2, 0, 3]  # of the data's classes zebra, ape, cat
INPUT = {"mean": MEAN, "std": STD, "size": 16, "interpolation": "nearest", "channel_order": "BGR", "labels": LABELS}
CONVNET = {"name": "convnet", "widths": [4]}
KD = [{"method": "kd"}]
UNTIMED = {"times": False, "energy": "off"}


def striped(count, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.integers(0, 90, (count, 8, 8, 3))
    images[labels == 0, ::2] += 150
    images[labels == 1, :, ::2] += 150
    return images.astype(np.uint8), labels.astype(np.int64)


def own_inputs(images):
    """The teacher's inputs of stored images (N, 8, 8, 3), by hand: each pixel twice, blue first, normalised."""
    enlarged = images.repeat(2, axis=1).repeat(2, axis=2)[..., ::-1].astype(np.float32) / 255
    return torch.from_numpy(((enlarged - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2).copy())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A data set, and a network for images of another size as weights and as an ONNX file beside its description."""
    folder = tmp_path_factory.mktemp("files")
    (x_train, y_train), (x_test, y_test) = striped(120, 0), striped(60, 1)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    np.savez(folder / "data.npz", **arrays, class_names=np.array(["zebra", "ape", "cat"]))
    torch.manual_seed(0)
    network = models.build("convnet", (3, 16, 16), 4, widths=[8])
    inputs, targets = own_inputs(x_train), torch.tensor(COLUMNS)[torch.from_numpy(y_train)]
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(15):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
    save_file(network.eval().state_dict(), folder / "t.safetensors")
    export_onnx(network, (3, 16, 16), folder / "o.onnx")
    (folder / "o.toml").write_text(tomli_w.dumps(INPUT))
    (folder / "labels.txt").write_text("\n".join(LABELS))
    return folder, network


def recipe(files, *teachers, students=(), **keys):
    folder, _ = files
    content = {
        "name": "ready",
        "folder": str(folder),
        "data": {"name": "npz:data.npz", "validation": 0.2},
        "training": {"epochs": 1, "batch": 32, "threads": 1},
        "teacher": list(teachers),
        "student": [{"model": CONVNET, "terms": KD, **student} for student in students],
        "measure": UNTIMED,
        **keys,
    }
    return recipe_from(content)


TORCH = {"name": "t", "model": {"name": "convnet", "widths": [8]}, "weights": "t.safetensors", "input": INPUT}
ONNX = {"name": "o", "weights": "o.onnx"}


@pytest.mark.parametrize("teacher", [TORCH, ONNX, {**TORCH, "input": {**INPUT, "labels": "labels.txt"}}])
def test_it_teaches_the_logits_that_its_own_pipeline_gives(files, teacher):
    study = recipe(files, teacher)
    data = load_run_data(study)
    (batch,) = data.batches(data.train, len(data.train))
    with torch.no_grad():
        logits = teacher_network(plan(study)[0], data, None).eval()(batch.inputs)
        expected = files[1](own_inputs(data.train.inputs.transpose(0, 2, 3, 1)))[:, COLUMNS]
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)


class OfPixels(torch.nn.Module):
    """Takes the pixels themselves, as bytes, and gives probabilities."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.head = torch.nn.Linear(192, 3)

    def forward(self, pixels):
        return self.head(pixels.float().flatten(1) / 255 - 0.5).softmax(1)


def test_a_file_that_takes_bytes_and_gives_probabilities_teaches(files):
    network, path = OfPixels().eval(), files[0] / "bytes.onnx"
    example = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    batch_axis = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(network, (example,), path, dynamo=True, dynamic_shapes=batch_axis, external_data=True)
    assert len(external_files(path)) == 1, "its weights lie beside it"
    study = recipe(files, {"name": "bytes", "weights": "bytes.onnx"})
    data = load_run_data(study)
    (batch,) = data.batches(data.train, len(data.train))
    with torch.no_grad():
        logits = teacher_network(plan(study)[0], data, None)(batch.inputs)
        expected = network(torch.from_numpy(data.train.inputs))
    torch.testing.assert_close(logits.softmax(1), expected, atol=1e-5, rtol=1e-4)

    # Its large weights count, and are copied with it.
    before = file_hash(path)
    (beside,) = external_files(path)
    content = bytearray(beside.read_bytes())
    content[0] ^= 1
    beside.write_bytes(content)
    assert file_hash(path) != before
    (export,) = export_all(study, plan(study), data, RunFolder(files[0] / "run"), Silent())
    assert (files[0] / "run" / "models" / beside.name).read_bytes() == content
    assert export.card.preprocessing.mean == (0.0,)


def with_external_data(model, folder, location, described):
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location=location, size_threshold=0)
    shutil.copyfile(described, folder / "model.toml")
    return str(folder / "model.onnx")


def test_external_data_keeps_its_place_and_is_not_shared_by_teachers(files, tmp_path):
    data, described = Path("weights") / "w.bin", files[0] / "o.toml"
    model = onnx.load(files[0] / "o.onnx")
    one = with_external_data(model, tmp_path / "one", str(data), described)
    study = recipe(files, {**ONNX, "weights": one})
    export_all(study, plan(study), load_run_data(study), RunFolder(tmp_path / "run"), Silent())
    assert (tmp_path / "run" / "models" / data).read_bytes() == (tmp_path / "one" / data).read_bytes()

    model = onnx.load(files[0] / "o.onnx")
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = bytes(reversed(weights.raw_data))
    two = with_external_data(model, tmp_path / "two", str(data), described)
    study = recipe(files, {**ONNX, "weights": one}, {**ONNX, "name": "p", "weights": two})
    with pytest.raises(InputError, match="o and p keep different weights in files of one name") as caught:
        train(study, tmp_path / "out")
    assert 'location="p.data"' in caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_it_is_measured_as_bench_measures_its_file(files, tmp_path):
    students = [{"name": "s"}, {"name": "so", "teacher": "o", "cache": "off"}]
    record, folder = run(recipe(files, TORCH, ONNX, students=students), tmp_path / "run")
    data = f"npz:{files[0] / 'data.npz'}"
    original, _ = bench([files[0] / "o.onnx"], data=data, out=tmp_path / "o", options=Measure(**UNTIMED))
    exported, _ = bench([folder / "models/t.onnx"], data=data, out=tmp_path / "t", options=Measure(**UNTIMED))
    for id_, alone in (("o", original), ("t", exported)):
        assert record.find(id_, "top1").value == alone.find(id_, "top1").value > 0.9
    assert (folder / "models/o.onnx").read_bytes() == (files[0] / "o.onnx").read_bytes()

    card = record.cards["o"]
    assert (card.origin.file, card.classes, card.input_shape) == ("o.onnx", 4, (3, 16, 16))
    assert set(card.preprocessing.sources.values()) == {"o.toml"}
    assert set(record.cards["t"].preprocessing.sources.values()) == {"the recipe"}
    assert record.cards["so"].parents == ("o",)
    assert record.find("t", "training_s") is None or record.find("t", "training_s").value is None
    assert record.find_pair("so", "top1_drop") is not None
    assert str(files[0]) not in json.dumps(record.recipe)


@pytest.mark.parametrize("teacher", [ONNX, {"name": "l", "logits": "logits.npz"}])
def test_methods_of_features_are_refused_before_anything_trains(files, teacher, tmp_path):
    np.savez(files[0] / "logits.npz", logits=np.zeros((120, 3), np.float32), samples=np.arange(120))
    study = recipe(files, teacher, students=[{"name": "s", "terms": [{"method": "hint"}]}])
    with pytest.raises(InputError, match="no layers whose features") as caught:
        train(study, tmp_path / "out")
    assert "kd" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_logits_of_a_file_teach_without_a_network(files, tmp_path):
    rng = np.random.default_rng(3)
    numbers, logits = rng.permutation(120), rng.normal(size=(120, 3)).astype(np.float32)
    np.savez(files[0] / "given.npz", logits=logits, samples=numbers)
    terms = [{"method": "kd", "temperature": 1.0, "kd_weight": 1.0}]
    training = {"batch": 96, "optimizer": {"lr": 1e-12}}
    student = {"name": "s", "terms": terms, "ce_weight": 0.0, "training": training}
    study = recipe(files, {"name": "l", "logits": "given.npz"}, students=[student])
    folder = RunFolder(train(study, tmp_path / "out"))
    summary = json.loads((folder.checkpoint("s") / "training.json").read_text())["training"]

    data = load_run_data(study)
    (batch,) = data.batches(data.train, len(data.train))
    torch.manual_seed(0)
    network = models.build("convnet", (3, 8, 8), 3, widths=[4]).train()
    by_number = np.empty_like(logits)
    by_number[numbers] = logits
    taught = torch.log_softmax(torch.from_numpy(by_number[data.train.samples]), 1)
    with torch.no_grad():
        learned = torch.log_softmax(network(batch.inputs), 1)
    expected = float((taught.exp() * (taught - learned)).sum(1).mean())
    assert summary["curve"][0]["train_loss"] == pytest.approx(expected, rel=1e-5)

    # Nothing of the teacher is exported, and the student has no parent.
    (export,) = export_all(study, plan(study), data, folder, Silent())
    assert (export.card.id, export.card.parents) == ("s", ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"augment": "flip"}}, "changed images"),
        ({"data": {"augment": "mixup"}}, "changed images"),
        ({"data": {"augment": {"transform": "torch:neg"}}}, "changed images"),
    ],
)
def test_logits_of_a_file_do_not_fit_changed_images(files, change, message, tmp_path):
    np.save(files[0] / "all.npy", np.zeros((120, 3), np.float32))
    study = recipe(files, {"name": "l", "logits": "all.npy"}, students=[{"name": "s", **change}])
    with pytest.raises(InputError, match=message):
        train(study, tmp_path / "out")


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({**TORCH, "input": {**INPUT, "labels": ["ape", "dog", "zebra", "cow"]}}, "no output for the classes 'cat'"),
        ({**TORCH, "input": {**INPUT, "labels": ["ape", "zebra", "cat"]}}, "of another shape"),
        ({**TORCH, "input": {**INPUT, "interpolation": "lanczos"}}, "lanczos"),
        ({**TORCH, "input": {**INPUT, "mean": [0.1, 0.2], "std": [1, 1]}}, "2 means"),
        ({**TORCH, "input": {**INPUT, "mean": [51, 76, 102], "std": [76, 51, 64]}}, "a mean of 102 is none of theirs"),
        ({**ONNX, "input": {"scale": 1}}, "a standard deviation of 0.2 is none of theirs"),
        ({**ONNX, "input": {"size": 12}}, "not of 12"),
        ({**ONNX, "input": {"output": "features"}}, "no output 'features'"),
        ({**TORCH, "training": {"epochs": 1}}, "pretrained teachers"),
        ({**TORCH, "input": {"labels": "names.txt"}}, "names.txt"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_trains(files, teacher, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(recipe(files, teacher), tmp_path / "out")
    assert not (tmp_path / "out").exists()
