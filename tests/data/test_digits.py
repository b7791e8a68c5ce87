import hashlib

import numpy as np
import pytest

from kdbench.data import load


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_parts(digits):
    assert digits.input_shape == (1, 8, 8)
    assert digits.classes == 10
    assert len(digits.train) + len(digits.test) == 1797
    assert np.bincount(digits.test.labels).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]


def test_the_test_part_never_changes(digits):
    # A different fingerprint makes every published digits result incomparable with new ones.
    assert hashlib.sha256(digits.test.inputs.tobytes()).hexdigest()[:16] == "945dec6adde59487"


def test_no_grey_level_is_lost(digits):
    from sklearn.datasets import load_digits

    images = np.concatenate([digits.train.inputs, digits.test.inputs])
    levels = np.rint(images[:, 0] * (16 / 255))
    original = load_digits().images
    assert images.max() == 255
    assert sorted(map(bytes, levels.astype(np.uint8))) == sorted(map(bytes, original.astype(np.uint8)))


def test_constants_are_those_of_the_training_part_whatever_is_asked_for(digits):
    assert digits.mean[0] == pytest.approx((digits.train.inputs / 255).mean())
    assert digits.std[0] == pytest.approx((digits.train.inputs / 255).std())
    alone = load("digits", parts=("test",))
    assert alone.train is None
    assert (alone.mean, alone.std) == (digits.mean, digits.std)


def test_resize_and_crop():
    assert load("digits", resize=16, crop=12, parts=("test",)).input_shape == (1, 12, 12)
