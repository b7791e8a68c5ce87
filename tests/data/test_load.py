import subprocess
import sys

import numpy as np
import pytest

from kdbench import data
from kdbench.data.reading.arrays import dataset_from_arrays
from kdbench.data.reading.scales import require_one_scale
from kdbench.errors import DataMissingError, InputError


def test_known_names():
    assert set(data.DATASETS.names()) >= {
        "cifar10", "cifar100", "digits", "fashion_mnist", "folder:PATH", "mnist", "npz:PATH",
    }  # fmt: skip


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(InputError, match="cifra10") as caught:
        data.load("cifra10")
    assert "cifar10" in caught.value.hint


@pytest.mark.parametrize("prefix", ["npz", "folder"])
def test_a_path_without_its_prefix_is_told_the_prefix(prefix, tmp_path):
    name = str(tmp_path / "data.npz") if prefix == "npz" else str(tmp_path)
    with pytest.raises(InputError) as caught:
        data.load(name)
    assert caught.value.hint == f"did you mean {prefix}:{name}?"


TEXTS = np.array(["ant", "bee", "cow"] * 4)
NUMBERS = {
    "x_train": np.zeros((12, 5)),
    "y_train": np.arange(12) % 3,
    "x_test": np.ones((6, 5)),
    "y_test": np.arange(6) % 3,
}


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"y_train": TEXTS}, "class_names = numpy.unique(y_train)"),
        ({"y_train": TEXTS.astype(object)}, "class_names = numpy.unique(y_train)"),
        ({"class_names": np.array(["ant", "bee", None], dtype=object)}, "return a list of texts"),
        ({"x_train": np.zeros((12, 5), dtype=object)}, "return numpy arrays of numbers"),
        ({"x_train": None}, "return a kdbench Dataset, a dict of x_train"),
    ],
)
def test_what_a_function_returns_is_refused_with_advice_for_it(wrong, advice):
    arrays = {key: value for key, value in {**NUMBERS, **wrong}.items() if value is not None}
    with pytest.raises(InputError) as caught:
        dataset_from_arrays(arrays, data.Request("mine"))
    assert advice in caught.value.hint


@pytest.mark.parametrize("texts", [TEXTS, TEXTS.astype(object)], ids=["texts", "objects"])
def test_labels_of_texts_get_the_numbers_that_the_advice_gives(texts):
    names = np.unique(texts)
    arrays = {**NUMBERS, "y_test": np.searchsorted(names, texts[1:7]), "class_names": names}
    dataset = dataset_from_arrays({**arrays, "y_train": np.searchsorted(names, texts)}, data.Request("mine"))
    assert dataset.test is not None
    assert [dataset.class_names[label] for label in dataset.test.labels] == TEXTS[1:7].tolist()


def test_without_a_root_the_error_says_how_to_name_one(monkeypatch):
    monkeypatch.delenv("KDBENCH_DATA", raising=False)
    with pytest.raises(DataMissingError) as caught:
        data.load("mnist")
    assert "KDBENCH_DATA" in caught.value.hint
    assert "data.root" in caught.value.hint


def test_the_argument_goes_before_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("KDBENCH_DATA", "/from/environment")
    with pytest.raises(DataMissingError, match="/from/environment"):
        data.load("mnist")
    with pytest.raises(DataMissingError, match=str(tmp_path)):
        data.load("mnist", root=tmp_path)


@pytest.mark.parametrize("option", ["resize", "crop"])
@pytest.mark.parametrize("pixels", [0, 70_000])
def test_no_pixels_and_too_many_are_no_size(option, pixels):
    with pytest.raises(InputError, match=f"data.{option} is {pixels}") as refused:
        data.load("digits", **{option: pixels})
    assert "from 1 to 65,536" in refused.value.hint


def test_looking_up_names_imports_nothing_heavy():
    code = (
        "import sys; from kdbench import data; import kdbench.data.batches; data.DATASETS.names();"
        "sys.exit(', '.join({'torch', 'torchvision', 'sklearn', 'PIL', 'lightning_fabric'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("layout", ["auto", "NCHW", "vectors"])
@pytest.mark.parametrize("scaled", ["x_train", "x_test"])
def test_parts_of_two_scales_are_refused(tmp_path, layout, scaled):
    """Every model trained on the one would be at chance level on the other, without another sign of a mistake."""
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 6, 5)).astype(np.float32)
    images = images.reshape(40, -1) if layout == "vectors" else images
    arrays = {"x_train": images[:30], "y_train": np.arange(30) % 3, "x_test": images[30:], "y_test": np.arange(10) % 3}
    np.savez(tmp_path / "set.npz", **{**arrays, scaled: arrays[scaled] / 255})
    small = "training inputs are from 0 to 1," if scaled == "x_train" else "test inputs from 0 to 1:"
    with pytest.raises(InputError, match=f"{small}.* the parts differ in scale"):
        data.load(f"npz:{tmp_path / 'set.npz'}", layout=layout)
    assert len(data.load(f"npz:{tmp_path / 'set.npz'}", layout=layout, parts=("test",), floats=True).test) == 10
    np.savez(tmp_path / "set.npz", **{key: x / 255 if key[0] == "x" else x for key, x in arrays.items()})
    assert len(data.load(f"npz:{tmp_path / 'set.npz'}", layout=layout).train) == 30


def test_pixels_that_became_whole_numbers_after_a_division_are_refused():
    images = np.random.default_rng(0).integers(0, 256, (999, 8, 8), dtype=np.uint8)
    arrays = {"x_train": images, "y_train": np.arange(999) % 3, "x_test": (images / 255).astype(np.uint8)}
    dataset = dataset_from_arrays({**arrays, "y_test": np.arange(999) % 3}, data.Request("mine"))
    with pytest.raises(InputError, match="test inputs from 0 to 1: the parts differ in scale"):
        require_one_scale(dataset)


@pytest.mark.parametrize(
    "test",
    [
        np.zeros((20, 5)),
        np.random.default_rng(1).normal(0, 10, (50, 5)),
        np.vstack([np.random.default_rng(2).normal(0, 1, (49, 5)), np.full((1, 5), 1e6)]),
        np.full((1, 5), 1e-3),
    ],
    ids=["zeros", "wider", "an outlier", "a few small numbers"],
)
def test_parts_that_merely_differ_are_accepted(test):
    arrays = {"x_train": np.random.default_rng(0).normal(0, 1, (300, 5)), "y_train": np.arange(300) % 3, "x_test": test}
    dataset = dataset_from_arrays(
        {**arrays, "y_test": np.arange(len(test)) % 3}, data.Request("mine", layout="vectors")
    )
    require_one_scale(dataset)
