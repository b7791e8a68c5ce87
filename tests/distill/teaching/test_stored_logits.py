"""Logits as a file: matched by the data set's own sample numbers."""

import numpy as np
import pytest
import torch

from kdbench import data
from kdbench.data.batches import Batch
from kdbench.data.selection import first_per_class
from kdbench.distill.teaching.stored_logits import ArrayTeacher, StoredLogits, load_logits
from kdbench.errors import InputError
from kdbench.models.feature_hooks import FeatureHooks, required_stages

LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
SAMPLES = np.array([40, 7, 12, 3, 99, 21])
NEEDED = np.array([3, 40, 99])


@pytest.fixture
def saved(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "logits.npz", **arrays)
        return tmp_path / "logits.npz"

    return save


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_belong_to_sample_numbers(saved, dtype):
    path = saved(logits=LOGITS.astype(dtype), samples=SAMPLES)
    logits = load_logits(path, NEEDED, 3)
    np.testing.assert_array_equal(logits, LOGITS[[3, 0, 4]])
    inputs = torch.zeros(2, 1)
    batch = Batch(inputs, torch.zeros(2), torch.tensor([2, 0]), torch.tensor([99, 3]))
    np.testing.assert_array_equal(ArrayTeacher(logits).predict(batch).logits, LOGITS[[4, 3]])


def test_an_npy_holds_all_samples_in_order(tmp_path):
    np.save(tmp_path / "all.npy", LOGITS)
    np.testing.assert_array_equal(load_logits(tmp_path / "all.npy", np.array([5, 0]), 3), LOGITS[[5, 0]])
    np.testing.assert_array_equal(
        load_logits(tmp_path / "all.npy", np.array([5, 0]), 3, all_samples=np.arange(6)), LOGITS[[5, 0]]
    )
    for total in (5, 7):  # of another set, or of the training and the test part together
        with pytest.raises(InputError, match=f"of 6 samples, but the data set's training part has {total}"):
            load_logits(tmp_path / "all.npy", np.array([0]), 3, all_samples=np.arange(total))


def test_rows_in_order_belong_to_the_samples_of_a_set_whose_numbers_have_gaps(saved, tmp_path):
    """The digits keep scikit-learn's numbers: logits that give the label show whose row a sample gets."""
    digits = data.load("digits").train
    logits = 5 * np.eye(10, dtype=np.float32)[digits.labels]
    np.save(tmp_path / "all.npy", logits)
    some = digits.subset(first_per_class(digits, 10))
    of_some = load_logits(tmp_path / "all.npy", some.samples, 10, all_samples=digits.samples)
    assert of_some.argmax(dim=1).tolist() == some.labels.tolist()

    by_number = saved(logits=logits, samples=digits.samples)
    same = load_logits(by_number, some.samples, 10, all_samples=digits.samples)
    assert same.argmax(dim=1).tolist() == some.labels.tolist()
    with pytest.raises(InputError, match="count from 0 to 1437, but the data set's own numbers have gaps"):
        load_logits(saved(logits=logits, samples=np.arange(1438)), some.samples, 10, all_samples=digits.samples)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"logits": LOGITS, "samples": SAMPLES[::-1] + 1}, "no logits for 3 of 3 training samples: 3, 40, 99"),
        ({"logits": LOGITS, "samples": np.where(SAMPLES == 99, 98, SAMPLES)}, "for 1 of 3 .*: 99"),
        ({"logits": LOGITS, "samples": np.zeros(6, int)}, "must be different integers"),
        ({"logits": LOGITS, "samples": SAMPLES[:5]}, r"logits \(6, 3\) float32 and samples \(5,\)"),
        ({"logits": LOGITS, "samples": np.array(3)}, r"samples \(\)"),
        ({"logits": LOGITS[:0], "samples": SAMPLES[:0]}, r"logits \(0, 3\)"),
        ({"logits": LOGITS[:, :2], "samples": SAMPLES}, "2 classes, but the data has 3"),
        ({"logits": LOGITS * np.nan, "samples": SAMPLES}, "NaN"),
        ({"logits": LOGITS}, "no array 'samples'"),
        ({"logits": LOGITS.astype(int), "samples": SAMPLES}, "int64"),
    ],
)
def test_what_does_not_fit_is_refused(saved, arrays, message):
    with pytest.raises(InputError, match=message):
        load_logits(saved(**arrays), NEEDED, 3)


def test_a_file_of_pickled_objects_is_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(InputError, match="not a readable NumPy array"):
        load_logits(tmp_path / "objects.npy", NEEDED, 3)


def test_there_is_no_network_to_tap_or_to_call():
    for use in (lambda: FeatureHooks(StoredLogits(), ["layer1"]), lambda: required_stages(StoredLogits())):
        with pytest.raises(InputError, match="no layers") as caught:
            use()
        assert "kd" in caught.value.hint
    with pytest.raises(InputError, match="no network"):
        StoredLogits()(torch.zeros(1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_probabilities_are_no_logits(saved, dtype):
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    with pytest.raises(InputError, match="holds probabilities"):
        load_logits(saved(logits=shares.astype(dtype), samples=SAMPLES), NEEDED, 3)
    logarithms = load_logits(saved(logits=np.log(shares), samples=SAMPLES), NEEDED, 3)
    np.testing.assert_allclose(logarithms.softmax(dim=1), shares[[3, 0, 4]], rtol=1e-5)
