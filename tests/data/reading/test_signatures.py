"""Data sets from user functions."""

from pathlib import Path

import numpy as np
import pytest

from kdbench import data
from kdbench.data import DATASETS, Dataset, Split
from kdbench.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 1, 6, 6), dtype=np.uint8)
LABELS = np.arange(8) % 2


def plain():
    return IMAGES, LABELS, IMAGES[:4], LABELS[:4]


def table(root, parts):
    assert root == Path("somewhere")
    assert parts == ("train", "test")
    return {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:4], "y_test": LABELS[:4]}


def by_request(request):
    split = Split(IMAGES, LABELS.astype(np.int64))
    return Dataset(request.name, ("a", "b"), split, split.subset(range(4)), (0.5,), (0.5,), "made up")


def by_position(requested):
    return by_request(requested)


def with_option(scale=2):
    assert scale == 2
    return plain()


@pytest.fixture(autouse=True)
def _registered():
    for function in (plain, table, by_request, by_position, with_option):
        DATASETS.register(function.__name__)(function)
    DATASETS.register("two needs")(lambda root, depth: (root, depth))
    DATASETS.register("faulty")(lambda: IMAGES["x"])
    DATASETS.register("nothing")(lambda: None)
    DATASETS.register("number")(3)
    yield
    DATASETS.forget(__name__)


@pytest.mark.parametrize("name", ["plain", "table", "by_request", "by_position", "with_option"])
def test_a_function_gets_what_it_names_and_returns_arrays_or_a_data_set(name):
    loaded = data.load(name, root="somewhere")
    np.testing.assert_array_equal(loaded.train.inputs, IMAGES)
    np.testing.assert_array_equal(loaded.test.labels, LABELS[:4])


@pytest.mark.parametrize(
    ("name", "message"),
    [("two needs", "needs arguments: depth"), ("faulty", "faulty"), ("nothing", "nothing"), ("number", "int")],
)
def test_what_loads_nothing_is_refused(name, message):
    with pytest.raises(InputError, match=message) as caught:
        data.load(name)
    assert caught.value.hint
