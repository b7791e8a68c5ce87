import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdbench.data.dataset import Split
from kdbench.data.split import cut_validation, stratified
from kdbench.errors import InputError

labels_of = hnp.arrays(np.int64, st.integers(1, 200), elements=st.integers(0, 8))
shares = st.floats(0.01, 0.99)
seeds = st.integers(-(2**40), 2**70)


@given(labels_of, shares, seeds)
def test_disjoint_complete_and_ascending(labels, share, seed):
    kept, cut = stratified(labels, share, seed)
    assert np.array_equal(np.sort(np.concatenate([kept, cut])), np.arange(len(labels)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(cut) > 0).all()


@given(labels_of, shares, seeds)
def test_every_class_gives_its_share_and_keeps_some(labels, share, seed):
    kept, cut = stratified(labels, share, seed)
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        n_cut = int((labels[cut] == label).sum())
        if count == 1:
            assert n_cut == 0
        else:
            assert 1 <= n_cut <= count - 1
            assert abs(n_cut - share * count) <= 1
        assert (labels[kept] == label).any()


@given(labels_of, shares, seeds)
def test_same_seed_same_cut(labels, share, seed):
    first, second = stratified(labels, share, seed), stratified(labels, share, seed)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_other_seeds_cut_otherwise_and_evenly():
    labels = np.repeat(np.arange(4), 25)
    times_cut = np.zeros(100)
    for seed in range(400):
        times_cut[stratified(labels, 0.2, seed)[1]] += 1
    # Each sample is cut 400 · 0.2 = 80 times in the mean, standard deviation 8: five of them either way.
    assert times_cut.min() > 40
    assert times_cut.max() < 120


def test_the_cut_is_the_same_with_every_version():
    # Known answer: a change here changes published test parts (digits, folders) and everybody's validation split.
    _, cut = stratified(np.tile(np.arange(3), 10), 0.2, 0)
    assert cut.tolist() == [1, 3, 11, 13, 20, 21]


def test_cut_validation_takes_images_and_labels_together():
    labels = np.tile(np.arange(5), 20)
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    training, validation = cut_validation(Split(images, labels), 0.1, seed=3)
    assert len(training) == 90
    assert np.bincount(validation.labels).tolist() == [2] * 5
    for part in (training, validation):
        assert (part.images.ravel() % 5 == part.labels).all()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InputError, match="share"):
        cut_validation(Split(np.zeros((4, 1, 1, 1), np.uint8), np.zeros(4, np.int64)), share, 0)


def test_nothing_to_share_out_is_refused():
    with pytest.raises(InputError, match="no class has two"):
        cut_validation(Split(np.zeros((3, 1, 1, 1), np.uint8), np.arange(3)), 0.5, 0)
