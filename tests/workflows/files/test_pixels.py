"""Scales, means and standard deviations that are of the same pixels, and those that are not."""

import numpy as np
import pytest

import kdbench
from kdbench.errors import InputError
from kdbench.recipe import InputOptions
from kdbench.results.preprocessing import InputSpec, Preprocessing
from kdbench.workflows.files.images import TestImages
from kdbench.workflows.files.model_files import load_bench_model
from kdbench.workflows.files.pixels import brightest, require_one_unit

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
IMAGES = np.array([[0, 85], [170, 255]], np.uint8).repeat(3, axis=0)[None, None].repeat(3, axis=1)
OF_LEVELS = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


@pytest.mark.parametrize(
    ("keys", "hint"),
    [
        (OF_LEVELS, "--scale m=1 if"),
        ({"mean": (103.939, 116.779, 123.68), "std": (1.0,) * 3}, "--scale m=1 if"),
        ({"mean": (0.0,), "std": (255.0,)}, "--scale m=1 if"),
        ({"scale": 1.0, **IMAGENET}, "--scale m=255 if"),
        ({"scale": 1 / 255, **IMAGENET}, "--scale m=255 multiplies pixels by 0.00392157"),
        ({"scale": 1 / 255}, "--scale m=255 multiplies pixels by 0.00392157"),
    ],
)
def test_those_of_other_pixels_are_refused(keys, hint):
    """In each case the largest or the smallest input is far from what any network was trained on."""
    made = Preprocessing(**keys, sources=dict.fromkeys(keys, "options"))
    inputs = (np.arange(256)[:, None] / made.scale - np.array(made.mean)) / np.array(made.std)
    assert np.ptp(inputs, axis=0).max() < 0.02 or np.abs(inputs).max() > 90
    with pytest.raises(InputError, match="none of theirs") as refused:
        require_one_unit("m", made, IMAGES, "--scale m=")
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    "keys",
    [
        IMAGENET,
        {"scale": 1.0, **OF_LEVELS},
        {"scale": 127.5, "mean": (1.0,), "std": (1.0,)},
        {"scale": 1.0, "mean": (103.939, 116.779, 123.68), "std": (1.0,) * 3},  # Caffe's
        {"scale": 1.0, "mean": (127.5,), "std": (128.0,)},  # faces
        {"scale": 127.5, "mean": (1.485, 1.456, 1.406), "std": (0.229, 0.224, 0.225)},  # EfficientNet's offset
        {"mean": (-16 / 219,), "std": (1 / 219,)},  # from 16 to 235
    ],
)
def test_those_of_known_networks_are_accepted(keys):
    require_one_unit("m", Preprocessing(**keys, sources=dict.fromkeys(keys, "options")), IMAGES, "--scale m=")


def test_constants_that_kdbench_fitted_are_accepted():
    nearly_constant = Preprocessing(mean=(0.5,), std=(0.001,), sources=dict.fromkeys(("mean", "std"), "its card"))
    require_one_unit("m", nearly_constant, IMAGES, "--scale m=")
    require_one_unit("m", nearly_constant.model_copy(update={"sources": {}}), IMAGES, "--scale m=")


@pytest.mark.parametrize(
    ("constants", "hint"),
    [
        ({"mean": [123.675, 116.28, 103.53]}, "data.mean = [0.485, 0.456, 0.406]"),
        ({"mean": [0.485, 0.456, 0.406], "std": [58.395, 57.12, 57.375]}, "data.std = [0.229, 0.224, 0.225]"),
    ],
)
def test_a_recipe_with_constants_of_levels_is_refused_before_training(tmp_path, constants, hint):
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 6, 6), np.uint8)
    np.savez(tmp_path / "set.npz", x_train=images, y_train=np.arange(40) % 2, x_test=images, y_test=np.arange(40) % 2)
    recipe = {
        "name": "levels",
        "data": {"name": f"npz:{tmp_path / 'set.npz'}", **constants},
        "training": {"epochs": 1},
        "teacher": {"name": "t", "model": {"name": "dense", "hidden": [4]}},
    }
    with pytest.raises(InputError, match=r"is not of pixels from 0 to 1") as caught:
        kdbench.train(recipe, tmp_path / "run")
    assert caught.value.hint == f"divide it by 255: {hint}"


def test_a_mean_of_masks_is_that_of_their_values():
    """Images of 0 and 1, stored as uint8, need no scale."""
    made = Preprocessing(scale=1.0, mean=(0.13,), std=(0.31,), sources={"scale": "options"})
    require_one_unit("m", made, IMAGES // 255, "--scale m=")
    with pytest.raises(InputError, match="none of theirs"):
        require_one_unit("m", made, IMAGES, "--scale m=")
    require_one_unit("m", made, np.zeros_like(IMAGES), "--scale m=")


def test_rows_of_features_are_no_pixels():
    assert brightest(IMAGES) == 255
    assert brightest((IMAGES / 510).astype(np.float32)) == 127.5
    assert brightest(np.full((2, 1, 4, 4), 7, np.float32)) is None
    assert brightest(np.full((2, 1, 4, 4), -0.5, np.float32)) is None
    assert brightest(np.zeros((2, 1, 1, 4), np.float32)) is None
    assert brightest(np.zeros((2, 4), np.int64)) is None


def test_a_file_is_refused_before_it_is_measured(tiny):
    path = tiny()
    inputs = InputOptions(data="digits", models={"m": InputSpec(mean=(123.7,), std=(58.4,))})
    with pytest.raises(InputError, match="divided by 255 reach 1, and a mean of 123"):
        load_bench_model(path, "m", inputs, reference="m", images=TestImages(inputs))
