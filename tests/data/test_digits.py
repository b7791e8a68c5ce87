import hashlib

import numpy as np
import pytest

from kdbench.data import load
from kdbench.data.digits import read_digits
from kdbench.errors import InputError


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_the_parts_of_the_digits(digits):
    assert digits.input_shape == (1, 8, 8)
    assert digits.classes == 10
    assert len(digits.train) + len(digits.test) == 1797
    assert np.bincount(digits.test.labels).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]


def test_the_test_part_never_changes(digits):
    # A different fingerprint makes every published digits result incomparable with new ones.
    assert hashlib.sha256(digits.test.inputs.tobytes()).hexdigest()[:16] == "945dec6adde59487"


def test_the_file_holds_what_scikit_learn_loads():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    bunch = datasets.load_digits()
    levels, labels = read_digits()
    assert (levels == bunch.images).all()
    assert (labels == bunch.target).all()


def test_a_share_makes_a_larger_test_part_of_every_class(digits):
    halved = load("digits:test=0.5")
    assert halved.name == "digits:test=0.5"
    images = np.concatenate([halved.train.inputs, halved.test.inputs])
    assert sorted(map(bytes, images)) == sorted(map(bytes, np.concatenate([digits.train.inputs, digits.test.inputs])))
    in_train, in_test = (np.bincount(part.labels) for part in (halved.train, halved.test))
    for rest, cut in zip(in_train, in_test, strict=True):
        assert cut - rest in {0, 1}  # half of the class, rounded half up
    assert halved.mean[0] == pytest.approx((halved.train.inputs / 255).mean())
    assert (load("digits:test=0.2").test.inputs == digits.test.inputs).all()


@pytest.mark.parametrize("name", ["digits:test=0", "digits:test=1", "digits:test=", "digits:share=0.5"])
def test_an_impossible_share_is_refused(name):
    with pytest.raises(InputError, match=name):
        load(name)


def test_no_grey_level_is_lost(digits):
    images = np.concatenate([digits.train.inputs, digits.test.inputs])
    levels = np.rint(images[:, 0] * (16 / 255)).astype(np.uint8)
    assert images.max() == 255
    assert sorted(map(bytes, levels)) == sorted(map(bytes, read_digits()[0]))


def test_constants_are_those_of_the_training_part_whichever_part_is_loaded(digits):
    assert digits.mean[0] == pytest.approx((digits.train.inputs / 255).mean())
    assert digits.std[0] == pytest.approx((digits.train.inputs / 255).std())
    alone = load("digits", parts=("test",))
    assert alone.train is None
    assert (alone.mean, alone.std) == (digits.mean, digits.std)


def test_resize_and_crop():
    assert load("digits", resize=16, crop=12, parts=("test",)).input_shape == (1, 12, 12)
