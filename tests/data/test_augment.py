"""Views of training images."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kdbench.data.augment import (
    FEW_VIEWS,
    Views,
    apply_views,
    decode_views,
    slot_count,
    slots_of_epoch,
    views_in_slots,
    views_of_epoch,
)
from kdbench.data.dataset import Split
from kdbench.data.selection import at_random, flip_labels
from kdbench.recipe import Augment

SAMPLES = np.arange(500)
BANKS = [
    Augment(pad=4, flip=True, views=16),
    Augment(pad=1, views=9),
    Augment(pad=2, flip=True, views=7),
    Augment(pad=1, flip=True, views=18),
    Augment(flip=True, views=2),
]


def noise(batch, channels, height, width):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)


def drawn(augment, count, *, seed=0, epoch=0) -> Views:
    return decode_views(views_of_epoch(augment, np.arange(count), seed, epoch), augment)


def one_by_one(images, views, pad):
    """Pad, crop and flip each image with torchvision's functions."""
    from torchvision.transforms import functional

    height, width = images.shape[2:]
    made = []
    for image, row, column, mirrored in zip(images, *views, strict=True):
        cropped = functional.crop(functional.pad(image, [pad] * 4), int(row), int(column), height, width)
        made.append(functional.hflip(cropped) if mirrored else cropped)
    return torch.stack(made)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 9), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.integers(0, 5), st.booleans(),
    st.integers(0, 2**32),
)  # fmt: skip
def test_against_torchvision_image_by_image(batch, channels, height, width, pad, flip, seed):
    images, views = noise(batch, channels, height, width), drawn(Augment(pad=pad, flip=flip), batch, seed=seed)
    result = apply_views(images, views, pad)
    assert result.dtype == torch.uint8
    assert torch.equal(result, one_by_one(images, views, pad))


def test_images_in_channels_last_order():
    images, views = noise(4, 3, 8, 8), drawn(Augment(pad=2, flip=True), 4)
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(apply_views(last, views, 2), apply_views(images, views, 2))


def test_every_view_has_a_number_of_its_own():
    augment = Augment(pad=3, flip=True)
    views = decode_views(np.arange(augment.distinct_views), augment)
    assert len(set(zip(*(field.tolist() for field in views), strict=True))) == 7 * 7 * 2 == augment.distinct_views
    assert {int(views.row.min()), int(views.column.min())} == {0}
    assert {int(views.row.max()), int(views.column.max())} == {6}


def test_every_view_is_equally_likely_and_drawn_anew_each_epoch():
    augment = Augment(pad=4, flip=True)
    first, second = (views_of_epoch(augment, np.arange(40_000), 0, epoch) for epoch in (0, 1))
    assert stats.chisquare(np.bincount(first, minlength=162)).pvalue > 1e-3
    # Two independent draws from 162 agree once in 162: 247 of 40 000, standard deviation 16.
    assert 167 < (first == second).sum() < 327


@pytest.mark.parametrize("augment", [Augment(pad=4, flip=True), Augment(flip=True)], ids=str)
def test_views_depend_on_no_choice_of_samples_or_labels_with_the_same_seed(augment):
    labels, samples = np.arange(20_000) % 10, np.arange(20_000)
    subset = at_random(Split(np.zeros((20_000, 1, 1, 1), np.uint8), labels), 4_000, seed=0)
    noisy, wrong = flip_labels(labels, samples, 10, share=0.2, seed=0)
    for epoch in range(6):
        views = slots_of_epoch(augment, samples, 0, epoch)
        views = views_of_epoch(augment, samples, 0, epoch) if views is None else views
        for chosen in (subset, wrong):
            counts = np.bincount(views[chosen], minlength=augment.distinct_views)
            assert stats.chisquare(counts).pvalue > 1e-4
        away = (noisy - labels)[wrong] % 10
        assert abs(np.corrcoef(views[wrong], away)[0, 1]) < 5 / 4_000**0.5  # five standard deviations


def test_views_of_chosen_samples():
    views = drawn(Augment(pad=4, flip=True), 10)
    chosen = views.of(torch.tensor([7, 2]))
    assert isinstance(chosen, Views)
    assert chosen.row.tolist() == [views.row[7], views.row[2]]


def test_the_view_without_change_changes_nothing():
    images = noise(5, 3, 6, 6)
    assert torch.equal(apply_views(images, drawn(Augment(), 5), 0), images)


@pytest.mark.parametrize(
    ("augment", "expected"),
    [
        (Augment(), 1),
        (Augment(flip=True), 2),
        (Augment(pad=1), 9),
        (Augment(pad=1, flip=True), None),  # 18 views, more than are kept unasked
        (Augment(pad=4, flip=True, views=8), 8),
        (Augment(flip=True, views=200), 2),
        (Augment(flip=True, views=8, mixup=1.0), 8),  # the mixtures differ where the views repeat
        (Augment(flip=True, mixup=1.0), 2),
    ],
)
def test_few_views_have_slots(augment, expected):
    assert slot_count(augment) == expected
    assert (slots_of_epoch(augment, SAMPLES, 0, 0) is None) is (expected is None)
    assert FEW_VIEWS == 16, "the cases above are about 16"


@pytest.mark.parametrize("augment", BANKS, ids=str)
def test_a_sample_has_no_view_in_two_slots_and_the_same_bank_for_every_seed(augment):
    bank = np.stack([views_in_slots(augment, SAMPLES, slot) for slot in range(slot_count(augment))], axis=1)
    assert all(len(set(row)) == slot_count(augment) for row in bank.tolist())
    assert 0 <= bank.min() <= bank.max() < augment.distinct_views
    some = np.array([400, 3])
    assert np.array_equal(views_in_slots(augment, some, 1), bank[some, 1])


@pytest.mark.parametrize("augment", BANKS, ids=str)
@pytest.mark.parametrize("first_epoch", [0, 5])
def test_all_of_a_samples_views_are_shown_before_any_again(augment, first_epoch):
    count = slot_count(augment)
    shown = np.stack([slots_of_epoch(augment, SAMPLES, 3, first_epoch + epoch) for epoch in range(count)], axis=1)
    assert (np.sort(shown, axis=1) == np.arange(count)).all()


def test_samples_begin_at_slots_of_their_own_and_other_seeds_at_others():
    augment, many = Augment(pad=4, flip=True, views=16), np.arange(16_000)
    first, other = (slots_of_epoch(augment, many, seed, 0) for seed in (0, 1))
    assert stats.chisquare(np.bincount(first, minlength=16)).pvalue > 1e-3
    # Independent starts agree once in 16: 1000 times, standard deviation 31.
    assert 845 < (first == other).sum() < 1155


@pytest.mark.parametrize("augment", [Augment(pad=4, flip=True, views=16), Augment(pad=4, views=3)], ids=str)
def test_over_all_samples_a_bank_shows_every_view_equally_often(augment):
    total = augment.distinct_views
    many = np.arange(200 * total)
    for slot in (0, slot_count(augment) - 1):
        counts = np.bincount(views_in_slots(augment, many, slot), minlength=total)
        assert stats.chisquare(counts).pvalue > 1e-3


def test_views_without_a_bank_of_their_own_are_drawn_anew_each_epoch():
    augment, many = Augment(flip=True), np.arange(4_000)
    first, second = (slots_of_epoch(augment, many, 0, epoch) for epoch in (0, 1))
    assert 1_850 < (first == second).sum() < 2_150  # half, standard deviation 32
    assert np.array_equal(views_in_slots(augment, many, first), first)
