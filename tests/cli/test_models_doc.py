"""docs/models.md: its commands, on small models made as each library writes them, give what a loop of its own gives."""

import json
import re
import shlex
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from kdbench import data
from kdbench.modelfile.known_inputs import READERS
from kdbench.results.preprocessing import InputSpec
from kdbench.results.records import RunRecord
from kdbench.workflows import bench as workflow

TEXT = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
NAMES = ("ant", "bee", "cat")
SIDE = 16


def commands_of(title):
    """Return the kdbench commands below a heading."""
    section = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(f"{title}\n"))
    return re.findall(r"^kdbench (bench .*)$", text, re.MULTILINE)


@pytest.fixture
def shown(run_cli, tmp_path, monkeypatch, short_run):
    """Run a command below a heading in an empty folder, without timing; return the accuracy of its only model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workflow, "bench_models", partial(workflow.bench_models, timed=False))

    def run(title, number=0):
        ended = run_cli(*shlex.split(commands_of(title)[number]), "--out", f"out{number}", "--energy", "off", "-q")
        assert ended.code == 0, ended.err
        record = RunRecord.read(tmp_path / f"out{number}")
        (card,) = record.models
        return record.find(card.id, "top1").value

    return run


def weights(rows):
    return np.random.default_rng(3).standard_normal((rows, 3)).astype(np.float32)


def save(path, nodes, graph_inputs, results, stored, metadata=None):
    path.parent.mkdir(exist_ok=True)
    tensors = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    graph = helper.make_graph(nodes, "g", graph_inputs, results, tensors)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)


def floats(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def linear(path, input_name, output_name, shape, *, softmax=False, metadata=None):
    """Write `flatten, weights, (softmax)` with three classes."""
    nodes = [
        helper.make_node("Flatten", [input_name], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["z"]),
        helper.make_node("Softmax" if softmax else "Identity", ["z"], [output_name]),
    ]
    graph_inputs, results = [floats(input_name, *shape)], [floats(output_name, shape[0], 3)]
    save(path, nodes, graph_inputs, results, {"w": weights(int(np.prod(shape[1:])))}, metadata)


def answers(path, inputs):
    """Return the class of each input by onnxruntime, one at a time."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, session.get_outputs()[-1].name
    return np.array([session.run([output], {name: one[None]})[0].argmax() for one in inputs])


def photos(folder, path, transform, order=(0, 1, 2)):
    """Write images to `folder` as class folders and return the accuracy of the model at `path`.

    An image belongs to the class that the model answers, but every fifth to the next one; `order` maps the model's
    classes to the data's.
    """
    rng = np.random.default_rng(7)
    images = [Image.fromarray(rng.integers(0, 256, (24, 31, 3), dtype=np.uint8)) for _ in range(40)]
    predicted = np.array(order)[answers(path, [transform(image).numpy() for image in images])]
    labels = np.where(np.arange(40) % 5, predicted, (predicted + 1) % 3)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / "test" / NAMES[label]
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{number}.png")
    for name in NAMES:
        (folder / "test" / name).mkdir(exist_ok=True)
    return float((predicted == labels).mean())


@pytest.fixture
def package(tmp_path):
    """A package with a factory of networks, and its weights beside it."""
    (tmp_path / "mynets").mkdir()
    source = "from torch import nn\ndef student():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    (tmp_path / "mynets" / "small.py").write_text(source)
    torch.manual_seed(1)
    yield nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    for name in [name for name in sys.modules if name.partition(".")[0] == "mynets"]:
        del sys.modules[name]


def test_torch(shown, package, tmp_path):
    from safetensors.torch import save_file

    save_file(package.state_dict(), tmp_path / "student.safetensors")
    program = torch.export.export(package, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "student.pt2")
    test = data.load("digits").test
    predicted = package(torch.from_numpy(test.inputs).float() / 255).argmax(dim=1).numpy()
    expected = float((predicted == test.labels).mean())
    assert [shown("PyTorch", 0), shown("PyTorch", 1)] == [expected, expected]


def test_timm(shown, tmp_path):
    path = tmp_path / "export" / "resnet18.onnx"
    linear(path, "x", "logits", ("batch", 3, SIDE, SIDE))
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    cfg = {
        "tag": "a1_in1k",
        "custom_load": False,
        "input_size": [3, SIDE, SIDE],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.8,
        "crop_mode": "center",
        "mean": mean,
        "std": std,
        "num_classes": 3,
        "pool_size": [7, 7],
        "first_conv": "conv1",
        "classifier": "fc",
    }
    config = {"architecture": "resnet18", "num_classes": 3, "num_features": 512, "pretrained_cfg": cfg}
    (path.parent / "config.json").write_text(json.dumps(config))
    resize = transforms.Resize(int(SIDE / 0.8), InterpolationMode.BICUBIC)
    steps = [resize, transforms.CenterCrop(SIDE), transforms.ToTensor(), transforms.Normalize(mean, std)]
    expected = photos(tmp_path / "photos", path, transforms.Compose(steps))
    assert shown("timm") == expected


def test_hugging_face(shown, tmp_path):
    path = tmp_path / "vit" / "model.onnx"
    linear(path, "pixel_values", "logits", ("batch_size", 3, SIDE, SIDE))
    preprocessor = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": SIDE, "width": SIDE},
    }
    order = (2, 0, 1)  # the model's classes are in another order than the folders
    names = {str(number): NAMES[place] for number, place in enumerate(order)}
    config = {
        "architectures": ["ViTForImageClassification"],
        "id2label": names,
        "label2id": {name: int(number) for number, name in names.items()},
        "image_size": SIDE,
        "model_type": "vit",
    }
    (path.parent / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    (path.parent / "config.json").write_text(json.dumps(config))
    steps = [transforms.Resize((SIDE, SIDE)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    expected = photos(tmp_path / "photos", path, transforms.Compose(steps), order)
    assert shown("Hugging Face") == expected


def test_keras(shown, tmp_path):
    path = tmp_path / "keras.onnx"
    linear(path, "input_1", "dense", ("unk__6", SIDE, SIDE, 3), softmax=True)
    images = np.random.default_rng(7).integers(0, 256, (50, SIDE, SIDE, 3), dtype=np.uint8)
    predicted = answers(path, list(images.astype(np.float32) / 127.5 - 1))
    labels = np.where(np.arange(50) % 5, predicted, (predicted + 1) % 3)
    np.savez(tmp_path / "test.npz", x_test=images, y_test=labels)
    assert shown("Keras and TensorFlow") == float((predicted == labels).mean())


@pytest.mark.parametrize("zipped", [False, True])
def test_scikit_learn(shown, run_cli, zipped, tmp_path):
    from sklearn.linear_model import LogisticRegression  # takes seconds to import

    train, test = data.load("digits").train, data.load("digits").test
    classifier = LogisticRegression(max_iter=50, C=0.01).fit(train.inputs.reshape(-1, 64) / 16, train.labels)
    features = (test.inputs.reshape(-1, 64) / 16).astype(np.float32)
    np.savez(tmp_path / "test.npz", x=features, y=test.labels)
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["X"],
            ["label", "probability_tensor"],
            domain="ai.onnx.ml",
            coefficients=classifier.coef_.astype(np.float32).ravel().tolist(),
            intercepts=classifier.intercept_.astype(np.float32).tolist(),
            classlabels_ints=list(range(10)),
            multi_class=1,
            post_transform="SOFTMAX",
        ),
        helper.make_node("Normalizer", ["probability_tensor"], ["probabilities"], domain="ai.onnx.ml", norm="L1"),
    ]
    results = [helper.make_tensor_value_info("output_label" if zipped else "label", TensorProto.INT64, [None])]
    if zipped:
        nodes.append(helper.make_node("Cast", ["label"], ["output_label"], to=TensorProto.INT64))
        nodes.append(
            helper.make_node(
                "ZipMap", ["probabilities"], ["output_probability"], domain="ai.onnx.ml", classlabels_int64s=range(10)
            )
        )
        entries = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
        results.append(helper.make_value_info("output_probability", helper.make_sequence_type_proto(entries)))
    else:
        results.append(floats("probabilities", None, 10))
    save(tmp_path / "classifier.onnx", nodes, [floats("X", None, 64)], results, {})
    if zipped:
        ended = run_cli(*shlex.split(commands_of("scikit-learn")[0]))
        assert ended.code == 3
        assert "zipmap" in ended.err.lower()
        return
    assert shown("scikit-learn") == classifier.score(features, test.labels)


def test_ultralytics(shown, tmp_path):
    path = tmp_path / "best-cls.onnx"
    metadata = {
        "description": "Ultralytics YOLOv8n-cls model",
        "author": "Ultralytics",
        "task": "classify",
        "batch": "1",
        "imgsz": f"[{SIDE}, {SIDE}]",
        "names": str(dict(enumerate(NAMES))),
        "stride": "1",
    }
    linear(path, "images", "output0", (1, 3, SIDE, SIDE), softmax=True, metadata=metadata)
    steps = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE), transforms.ToTensor()]
    expected = photos(tmp_path / "photos", path, transforms.Compose(steps))
    assert shown("Ultralytics") == expected


def test_every_source_and_key_is_explained():
    assert not [name for name in READERS if f"`{name}`" not in TEXT]
    assert not [key for key in InputSpec.model_fields if f"`{key}`" not in TEXT and key != "geometry"]
