"""Random choices: keyed numbers, validation parts, subsets, wrong labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from kdbench.data.dataset import Split
from kdbench.data.selection import (
    at_random,
    below,
    cut_validation,
    first_per_class,
    flip_labels,
    half,
    key_of,
    noisy_targets,
    stratified,
    words,
)
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
        assert (part.inputs.ravel() % 5 == part.labels).all()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InputError, match="share"):
        cut_validation(Split(np.zeros((4, 1, 1, 1), np.uint8), np.zeros(4, np.int64)), share, 0)


def test_nothing_to_share_out_is_refused():
    with pytest.raises(InputError, match="no class has two"):
        cut_validation(Split(np.zeros((3, 1, 1, 1), np.uint8), np.arange(3)), 0.5, 0)


SUBSET_LABELS = np.array([2, 0, 1, 0, 2, 1, 0, 0, 2, 1, 1, 2], dtype=np.int64)
SPLIT = Split(np.zeros((12, 1, 2, 2), dtype=np.uint8), SUBSET_LABELS)


def test_the_first_of_each_class():
    assert first_per_class(SPLIT, 2).tolist() == [0, 1, 2, 3, 4, 5]
    chosen = first_per_class(SPLIT, 3)
    assert np.bincount(SUBSET_LABELS[chosen]).tolist() == [3, 3, 3]
    assert chosen.tolist() == sorted(chosen)


def test_more_than_a_class_has_is_refused():
    with pytest.raises(InputError, match="fewer than first_per_class = 5"):
        first_per_class(SPLIT, 5)


def test_a_random_part_holds_a_smaller_one_and_no_sample_twice():
    few, many = (set(at_random(SPLIT, count, seed=1).tolist()) for count in (4, 9))
    assert (len(few), len(many)) == (4, 9)
    assert few < many
    assert set(at_random(SPLIT, 4, seed=2).tolist()) != few
    with pytest.raises(InputError, match="13"):
        at_random(SPLIT, 13, seed=0)


def test_two_halves_are_everything_in_equal_shares():
    first, second = (half(SPLIT, which, seed=5) for which in ("D0", "D1"))
    assert sorted([*first, *second]) == list(range(12))
    assert np.bincount(SUBSET_LABELS[first]).tolist() == np.bincount(SUBSET_LABELS[second]).tolist() == [2, 2, 2]


def test_a_part_keeps_the_numbers_of_its_samples():
    part = SPLIT.subset([4, 9, 11])
    assert part.samples.tolist() == [4, 9, 11]
    assert part.subset([2]).samples.tolist() == [11]


NOISE_LABELS = np.arange(3000, dtype=np.int64) % 10
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
    assert len(flip_labels(NOISE_LABELS, SAMPLES, 10, share=0.05)[1]) == 150
    assert len(flip_labels(NOISE_LABELS[:7], SAMPLES[:7], 10, share=0.5)[1]) == 4


def test_every_other_class_is_equally_likely():
    noisy, flipped = flip_labels(NOISE_LABELS, SAMPLES, 10, share=1.0)
    away = np.bincount((noisy - NOISE_LABELS)[flipped] % 10, minlength=10)
    assert away[0] == 0
    # 333 expected of each, standard deviation 17.
    assert away[1:].min() > 250
    assert away[1:].max() < 420


def test_more_noise_holds_less_and_a_subset_keeps_its_labels():
    few, many = (set(flip_labels(NOISE_LABELS, SAMPLES, 10, share=share, seed=3)[1]) for share in (0.05, 0.2))
    assert few < many
    noisy, _ = flip_labels(NOISE_LABELS, SAMPLES, 10, share=1.0, seed=3)
    of_half, _ = flip_labels(NOISE_LABELS[1500:], SAMPLES[1500:], 10, share=1.0, seed=3)
    assert np.array_equal(noisy[1500:], of_half)


def test_another_seed_is_another_choice():
    first, second = (flip_labels(NOISE_LABELS, SAMPLES, 10, share=0.1, seed=seed)[1] for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_the_labels_given_stay_as_they_were():
    before = NOISE_LABELS.copy()
    flip_labels(NOISE_LABELS, SAMPLES, 10, share=0.5)
    assert np.array_equal(NOISE_LABELS, before)


@pytest.mark.parametrize(("labels", "classes", "count"), [(NOISE_LABELS, 10, 3001), (NOISE_LABELS * 0, 1, 5)])
def test_what_cannot_be_flipped_is_refused(labels, classes, count):
    with pytest.raises(InputError, match=r"label_noise|label noise"):
        flip_labels(labels, SAMPLES, classes, count=count)


def test_splitmix64_gives_its_published_numbers():
    # Vigna's splitmix64.c from state 1234567, as https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64 lists.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert words(1234567, np.arange(5)).tolist() == expected


def test_a_samples_word_does_not_depend_on_the_other_samples():
    all_words = words(9, np.arange(100))
    assert words(9, np.array([42, 7])).tolist() == all_words[[42, 7]].tolist()


@given(st.integers(-(2**63), 2**63), st.integers(0, 10_000))
def test_neighbouring_seeds_and_epochs_have_different_keys(seed, epoch):
    keys = {key_of(seed, epoch), key_of(seed, epoch + 1), key_of(seed + 1, epoch)}
    assert len(keys) == 3
    assert all(0 <= key < 2**64 for key in keys)


@pytest.mark.parametrize("limit", [2, 10, 162])
def test_numbers_below_a_limit_are_uniform(limit):
    drawn = below(limit, words(key_of(3, 1), np.arange(200 * limit)))
    assert drawn.min() == 0
    assert drawn.max() == limit - 1
    assert stats.chisquare(np.bincount(drawn, minlength=limit)).pvalue > 1e-3


def test_two_epochs_draws_are_independent():
    first, second = (below(4, words(key_of(0, epoch), np.arange(20_000))) for epoch in (0, 1))
    table = np.bincount(4 * first + second, minlength=16).reshape(4, 4)
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_targets_are_split_and_halved_without_classes():
    split = Split(np.zeros((40, 1, 1, 1), np.uint8), np.linspace(0, 1, 80, dtype=np.float32).reshape(40, 2))
    kept, cut = cut_validation(split, 0.25, 0)
    assert sorted([*kept.samples, *cut.samples]) == list(range(40))
    assert len(cut) == 10
    np.testing.assert_array_equal(cut.labels, split.labels[cut.samples])
    assert len(half(split, "D0", 0)) == 20


def test_noise_on_targets_is_gaussian_keyed_to_the_sample_and_scales_with_its_std():
    targets, samples = np.full((20_000, 2), 3, np.float32), np.arange(20_000)
    noisy = noisy_targets(targets, samples, std=0.5, seed=7)
    noise = noisy.astype(np.float64) - 3
    assert noisy.dtype == np.float32
    assert noise.mean(axis=0) == pytest.approx([0, 0], abs=4 * 0.5 / 20_000**0.5)
    assert noise.std(axis=0) == pytest.approx([0.5, 0.5], rel=0.03)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.03
    assert stats.kstest(noise[:, 0] / 0.5, "norm").pvalue > 0.001
    # Of a subset, in another order, and at another std the same draws.
    some = np.array([500, 3, 77])
    np.testing.assert_array_equal(noisy_targets(targets[:3], some, std=0.5, seed=7), noisy[some])
    twice = noisy_targets(targets[:3], some, std=1.0, seed=7)
    np.testing.assert_allclose(twice - 3, 2 * noise[some], rtol=1e-5, atol=1e-6)
    assert not np.array_equal(noisy_targets(targets, samples, std=0.5, seed=8), noisy)
