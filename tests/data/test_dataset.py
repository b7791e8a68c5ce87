import numpy as np
import pytest

from kdbench.data.dataset import Dataset, Split
from kdbench.errors import InputError


def split(count=4, shape=(1, 2, 2), labels=None):
    return Split(np.zeros((count, *shape), np.uint8), np.asarray(labels or [0] * count, np.int64))


def dataset(**changes):
    values = {
        "name": "toy",
        "class_names": ("a", "b"),
        "train": split(),
        "test": None,
        "mean": (0.5,),
        "std": (0.5,),
        "source": "",
    }
    return Dataset(**(values | changes))


def test_classes_are_known_unless_said_to_be_inferred():
    assert dataset().known_classes == dataset().classes == 2
    assert dataset(inferred_classes=True, test=split()).only(("test",)).known_classes is None


def test_subset_keeps_the_order_asked_for():
    whole = Split(np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), np.array([5, 6, 7]))
    part = whole.subset([2, 0])
    assert part.inputs.ravel().tolist() == [2, 0]
    assert part.labels.tolist() == [7, 5]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 1, 2, 2), np.float64), np.zeros(2, np.int64)),
        (np.zeros((2, 2, 2), np.uint8), np.zeros(2, np.int64)),
        (np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int32)),
        (np.zeros((2, 1, 2, 2), np.uint8), np.zeros(3, np.int64)),
        (np.zeros((0, 1, 2, 2), np.uint8), np.zeros(0, np.int64)),
        (np.zeros((2, 2, 2, 3), np.uint8).transpose(0, 3, 1, 2), np.zeros(2, np.int64)),
    ],
    ids=["float", "no channels", "int32 labels", "lengths differ", "empty", "not contiguous"],
)
def test_a_split_that_does_not_hold_together_is_refused(images, labels):
    with pytest.raises(InputError):
        Split(images, labels)


def test_shape_and_classes():
    made = dataset(test=split(2, (1, 2, 2), [1, 0]))
    assert made.input_shape == (1, 2, 2)
    assert made.classes == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": None}, "neither"),
        ({"test": split(shape=(1, 3, 3))}, "differ in shape"),
        ({"train": split(labels=[0, 1, 2, 0])}, "labels from 0 to 2"),
        ({"train": split(labels=[0, -1, 0, 0])}, "labels from -1"),
        ({"mean": (0.5, 0.5)}, "2 means"),
        ({"std": (0.0,)}, "positive"),
    ],
)
def test_a_dataset_that_does_not_hold_together_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        dataset(**changes)


def test_only_drops_the_other_part():
    whole = dataset(test=split())
    assert whole.only(["test"]).train is None
    assert whole.only(["test"]).test is whole.test
