"""Files of pretrained teachers whose graph does not show what their values are, or whose input needs a recipe's key."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from kdbench.errors import InputError
from kdbench.recipe.loading import recipe_from
from kdbench.workflows.study.networks import teacher_network
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.run_data import load_run_data
from kdbench.workflows.train import train

WEIGHTS = np.random.default_rng(0).normal(size=(108, 3)).astype(np.float32)
PIXELS = {"mean": [0.0], "std": [1.0]}  # from 0 to 1, of any number of channels
SOFTMAX = [("Exp", ["z"], ["e"], {}), ("ReduceSum", ["e", "axis"], ["sum"], {}), ("Div", ["e", "sum"], ["y"], {})]
SIGMOID = [
    ("Neg", ["z"], ["n"], {}),
    ("Exp", ["n"], ["e"], {}),
    ("Add", ["e", "one"], ["d"], {}),
    ("Reciprocal", ["d"], ["y"], {}),
]
PERCENT = [("Softmax", ["z"], ["p"], {"axis": 1}), ("Mul", ["p", "hundred"], ["y"], {})]
PLAIN = [("Identity", ["z"], ["y"], {})]
OVER_THE_BATCH = [("Softmax", ["z"], ["y"], {"axis": 0})]
CONSTANTS = {"axis": np.array([1]), "one": np.float32(1), "hundred": np.float32(100)}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3
    images = rng.integers(0, 256, (60, 6, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images[:6], y_test=labels[:6])
    ids = images.reshape(60, -1).astype(np.int64)
    np.savez(tmp_path / "ids.npz", x_train=ids, y_train=labels, x_test=ids[:6], y_test=labels[:6])
    return tmp_path


def save(path, shape, *, dtype=TensorProto.FLOAT, weights=WEIGHTS, offset=0.0, classes=3, last=PLAIN):
    """Save a linear classifier of images of `shape`, whose logits z pass through the nodes `last`."""
    first = [
        ("Cast", ["x"], ["float"], {"to": TensorProto.FLOAT}),
        ("Add", ["float", "offset"], ["pixels"], {}),
        ("Flatten", ["pixels"], ["flat"], {}),
        ("MatMul", ["flat", "weights"], ["z"], {}),
    ]
    graph = helper.make_graph(
        [helper.make_node(op, read, written, **attributes) for op, read, written, attributes in (*first, *last)],
        "teacher",
        [helper.make_tensor_value_info("x", dtype, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes])],
        [
            numpy_helper.from_array(np.asarray(array), name)
            for name, array in {**CONSTANTS, "weights": weights, "offset": np.float32(offset)}.items()
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def recipe(folder, options, data="data.npz", **keys):
    content = {
        "name": "r",
        "folder": str(folder),
        "data": {"name": f"npz:{data}", **keys},
        "training": {"epochs": 1, "threads": 1},
        "teacher": [{"name": "t", "weights": "t.onnx", "input": options}],
        "student": [{"name": "s", "model": {"name": "convnet", "widths": [4]}, "terms": [{"method": "kd"}]}],
    }
    return recipe_from(content)


def taught(folder, options):
    """Return the teacher's logits for all training images, and those computed by hand from the pixels."""
    study = recipe(folder, options)
    data = load_run_data(study)
    (batch,) = data.batches(data.train, len(data.train))
    with torch.no_grad():
        logits = teacher_network(plan(study)[0], data, None)(batch.inputs)
    return logits, torch.from_numpy(data.train.inputs.reshape(len(data.train), -1) / np.float32(255) @ WEIGHTS)


def test_the_softmax_of_a_file_may_be_written_as_single_operators(folder):
    save(folder / "t.onnx", (3, 6, 6), last=SOFTMAX)
    logits, expected = taught(folder, PIXELS)
    torch.testing.assert_close(logits.log_softmax(1), expected.log_softmax(1), atol=1e-4, rtol=1e-4)


def test_a_teacher_of_small_logits_is_read_from_samples_of_all_classes(folder):
    """Where the data are sorted, the logits of the first samples may all be from 0 to 1."""
    labels = np.arange(60) // 30
    brightness = np.where(labels == 0, 200, 50) + np.arange(60) % 5
    images = np.broadcast_to(brightness.astype(np.uint8)[:, None, None, None], (60, 6, 6, 3))
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images[:6], y_test=labels[:6])
    save(folder / "t.onnx", (3, 6, 6), weights=np.full((108, 1), 1 / 108, np.float32), offset=-0.5, classes=1)
    logits, _ = taught(folder, PIXELS)
    expected = {level / 255 - 0.5 for level in brightness.tolist()}
    assert sorted(set(logits.diff().flatten().tolist())) == pytest.approx(sorted(expected), abs=1e-5)


@pytest.mark.parametrize("last", [SIGMOID, PERCENT, OVER_THE_BATCH], ids=["sigmoid", "percent", "batch"])
def test_values_that_are_neither_logits_nor_probabilities_are_refused(folder, last, tmp_path):
    save(folder / "t.onnx", (3, 6, 6), last=last)
    with pytest.raises(InputError, match="t cannot be a teacher: the values of its output 'y'"):
        train(recipe(folder, PIXELS), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("dtype", "zero_point"), [(TensorProto.UINT8, 0), (TensorProto.INT8, -128)])
def test_an_input_with_steps_of_one_takes_the_pixels(folder, dtype, zero_point):
    save(folder / "t.onnx", (3, 6, 6), dtype=dtype, weights=WEIGHTS / 255, offset=-zero_point)
    logits, expected = taught(folder, {"input_scale": 1, "input_zero_point": zero_point})
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("shape", "keys"),
    [
        ((3, 9, 9), {"size": 9}),
        ((8, 12, 3), {"size": [8, 12], "resize_mode": "squash"}),
        ((1, 6, 6), {"colour": "grey"}),
    ],
)
def test_the_hint_for_other_images_has_keys_that_help(folder, shape, keys):
    save(folder / "t.onnx", shape, weights=np.ones((int(np.prod(shape)), 3), np.float32))
    with pytest.raises(InputError) as error:
        taught(folder, PIXELS)
    _, _, written = error.value.hint.partition(": ")
    assert written == ", ".join(f"input.{key} = {json.dumps(value)}" for key, value in keys.items())
    logits, _ = taught(folder, {**PIXELS, **keys})
    assert logits.shape[1] == 3


def test_the_hint_for_numbers_read_as_ids_is_a_key_that_helps(folder):
    save(folder / "t.onnx", (108,))
    with pytest.raises(InputError) as error:
        train(recipe(folder, {}, "ids.npz", layout="tokens"), folder / "out")
    assert error.value.hint.startswith('data.layout = "vectors"')


@pytest.mark.parametrize("last", [PLAIN, [("Sigmoid", ["z"], ["y"], {})], SOFTMAX], ids=["plain", "sigmoid", "softmax"])
def test_an_onnx_teacher_of_a_regression_teaches_its_outputs_as_they_are(folder, last):
    """Also those between 0 and 1, which a classifier's would not be logits."""
    targets = np.linspace(-2, 2, 120, dtype=np.float32).reshape(60, 2)
    images = np.random.default_rng(2).integers(0, 256, (60, 6, 6, 3), dtype=np.uint8)
    arrays = {"x_train": images, "y_train": targets, "x_test": images[:6], "y_test": targets[:6]}
    np.savez(folder / "data.npz", **arrays)
    save(folder / "t.onnx", (3, 6, 6), weights=WEIGHTS[:, :2], classes=2, last=last)
    content = recipe(folder, PIXELS).model_dump(mode="json", exclude_unset=True)
    content["student"][0]["terms"] = [{"method": "mse"}]
    made = recipe_from(content)
    run_data = load_run_data(made)
    teacher = teacher_network(plan(made)[0], run_data, None)
    part = run_data.train.subset(range(9))
    with torch.inference_mode():
        taught = teacher(run_data.example(part, 9)).numpy()
    z = (part.inputs.reshape(9, -1) / 255).astype(np.float32) @ WEIGHTS[:, :2]
    softmax = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = z if last is PLAIN else softmax if last is SOFTMAX else 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(taught, expected, rtol=1e-3, atol=1e-4)
    if last is PLAIN:
        trained = train(made, folder / "out")
        assert (trained / "checkpoints" / "s" / "weights.safetensors").is_file()
