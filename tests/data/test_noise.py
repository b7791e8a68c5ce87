import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.data.noise import flip_labels
from kdbench.errors import InputError

LABELS = np.arange(3000, dtype=np.int64) % 10
SAMPLES = np.arange(3000, dtype=np.int64)


@given(st.integers(0, 3000), st.integers(0, 2**32), st.integers(2, 12))
def test_as_many_labels_are_wrong_as_were_asked_for(count, seed, classes):
    labels = SAMPLES % classes
    noisy, flipped = flip_labels(labels, SAMPLES, classes, count=count, seed=seed)
    assert np.array_equal(np.flatnonzero(noisy != labels), flipped)
    assert len(flipped) == count
    assert noisy.min() >= 0
    assert noisy.max() < classes


def test_a_share_is_rounded():
    assert len(flip_labels(LABELS, SAMPLES, 10, share=0.05)[1]) == 150
    assert len(flip_labels(LABELS[:7], SAMPLES[:7], 10, share=0.5)[1]) == 4


def test_every_other_class_is_equally_likely():
    noisy, flipped = flip_labels(LABELS, SAMPLES, 10, share=1.0)
    away = np.bincount((noisy - LABELS)[flipped] % 10, minlength=10)
    assert away[0] == 0
    # 333 expected of each, standard deviation 17.
    assert away[1:].min() > 250
    assert away[1:].max() < 420


def test_more_noise_holds_less_and_a_subset_keeps_its_labels():
    few, many = (set(flip_labels(LABELS, SAMPLES, 10, share=share, seed=3)[1]) for share in (0.05, 0.2))
    assert few < many
    noisy, _ = flip_labels(LABELS, SAMPLES, 10, share=1.0, seed=3)
    of_half, _ = flip_labels(LABELS[1500:], SAMPLES[1500:], 10, share=1.0, seed=3)
    assert np.array_equal(noisy[1500:], of_half)


def test_another_seed_is_another_choice():
    first, second = (flip_labels(LABELS, SAMPLES, 10, share=0.1, seed=seed)[1] for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_the_labels_given_stay_as_they_were():
    before = LABELS.copy()
    flip_labels(LABELS, SAMPLES, 10, share=0.5)
    assert np.array_equal(LABELS, before)


@pytest.mark.parametrize(("labels", "classes", "count"), [(LABELS, 10, 3001), (LABELS * 0, 1, 5)])
def test_what_cannot_be_flipped_is_refused(labels, classes, count):
    with pytest.raises(InputError, match=r"label_noise|label noise"):
        flip_labels(labels, SAMPLES, classes, count=count)
