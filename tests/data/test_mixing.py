"""Mixtures of training images: of whole batches, and in slots."""

import numpy as np
import pytest
import torch
from scipy import stats

from kdbench.data.batches import Batches
from kdbench.data.dataset import Split
from kdbench.data.mixing import BatchMixing, mix, mixtures_in_slots
from kdbench.recipe import Augment

CLASSES = 8


def samples(count=8, size=16):
    """Images of one constant each, and a label of its own for every image."""
    values = torch.arange(1.0, count + 1)
    return values.view(-1, 1, 1, 1).expand(count, 3, size, size).clone(), torch.arange(count)


def mixed(augment, seed=0, epoch=0, number=0):
    return BatchMixing(augment, CLASSES, seed)(*samples(), epoch, number)


def share_of_first(labels):
    """The share of an image's own label, which must be the same in the whole batch."""
    label_shares = labels.diagonal()
    assert torch.allclose(label_shares, label_shares[:1].expand_as(label_shares))
    return float(label_shares[0])


@pytest.mark.parametrize("augment", [Augment(mixup=1.0), Augment(cutmix=1.0)], ids=["mixup", "cutmix"])
def test_labels_are_distributions_over_an_image_and_its_neighbour(augment):
    for number in range(5):
        _, labels = mixed(augment, number=number)
        share = share_of_first(labels)
        expected = share * torch.eye(CLASSES) + (1 - share) * torch.eye(CLASSES).roll(1, 0)
        torch.testing.assert_close(labels, expected)


def test_mixup_is_the_weighted_sum_of_two_images():
    images, _ = samples()
    results, labels = mixed(Augment(mixup=1.0))
    share = share_of_first(labels)
    assert 0 < share < 1
    torch.testing.assert_close(results, share * images + (1 - share) * images.roll(1, 0))


def test_cutmix_takes_a_box_of_the_neighbour_and_its_area_as_the_labels_share():
    images, _ = samples()
    results, labels = mixed(Augment(cutmix=1.0), number=3)
    foreign = results == images.roll(1, 0)
    assert (foreign | (results == images)).all()
    rows, columns = torch.where(foreign[0, 0])
    box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    assert box == len(rows), "a box without holes"
    assert (foreign == foreign[:1, :1]).all(), "the same one in every image and channel"
    assert float(foreign[0, 0].double().mean()) == pytest.approx(1 - share_of_first(labels))


@pytest.mark.parametrize("alpha", [0.4, 1.0, 3.0])
def test_shares_are_drawn_from_a_beta_distribution(alpha):
    shares = [share_of_first(mixed(Augment(mixup=alpha), number=number)[1]) for number in range(400)]
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_with_both_each_batch_takes_one_of_the_two():
    augment = Augment(mixup=1.0, cutmix=1.0)
    blended = 0
    for number in range(200):
        results, _ = mixed(augment, number=number)
        blended += not bool((results == results.round()).all())
    assert 70 < blended < 130  # half, standard deviation 7


def test_a_batch_is_mixed_the_same_way_whatever_was_drawn_before_and_leaves_no_trace():
    augment = Augment(mixup=1.0, cutmix=1.0)
    torch.manual_seed(1)
    first = mixed(augment, seed=4, epoch=2, number=7)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == after
    torch.manual_seed(2)
    again = mixed(augment, seed=4, epoch=2, number=7)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    for other in ({"seed": 5}, {"epoch": 3}, {"number": 8}):
        changed = mixed(augment, **{"seed": 4, "epoch": 2, "number": 7, **other})
        assert not torch.equal(changed[1], first[1])


SAMPLES = np.arange(20_000) * 3 + 5  # of a subset
MIXUP, CUTMIX, BOTH = Augment(mixup=1.0, views=8), Augment(cutmix=1.0, views=8), Augment(mixup=1.0, cutmix=1.0, views=8)


def in_slot(augment, slot, samples=SAMPLES):
    return mixtures_in_slots(augment, samples, np.full(len(samples), slot))


def test_every_sample_is_the_second_image_of_one_other_in_each_slot():
    for slot in range(3):
        second = in_slot(MIXUP, slot).position.numpy()
        assert np.array_equal(np.sort(second), np.arange(len(SAMPLES)))
        assert not (second == np.arange(len(SAMPLES))).any()
    assert (in_slot(MIXUP, 0).position == in_slot(MIXUP, 1).position).float().mean() < 0.01


@pytest.mark.parametrize("alpha", [0.4, 1.0, 3.0])
def test_shares_in_slots_are_independent_draws_from_a_beta_distribution(alpha):
    augment = Augment(mixup=alpha, views=8)
    first, second = (in_slot(augment, slot).share.double().numpy() for slot in (0, 5))
    for shares in (first, second):
        assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / len(SAMPLES) ** 0.5  # five standard deviations
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 5 / len(SAMPLES) ** 0.5


def test_with_both_each_sample_takes_one_of_the_two_in_a_slot():
    cut = in_slot(BOTH, 0).cut
    assert 9_650 < cut.sum() < 10_350  # half, standard deviation 71
    assert (cut != in_slot(BOTH, 1).cut).any()
    assert not in_slot(MIXUP, 0).cut.any()
    assert in_slot(CUTMIX, 0).cut.all()


def test_share_method_and_box_of_a_sample_depend_on_no_other_sample():
    whole, some = in_slot(BOTH, 2), np.arange(700, 900)
    for of_all, of_some in zip(whole, in_slot(BOTH, 2, SAMPLES[some]), strict=True):
        if of_all is not whole.position:
            assert torch.equal(of_all[700:900], of_some)


def one_by_one(first, second, mixtures):
    """Mix each pair with plain loops over the box of Yun et al. 2019, section 3.1, in whole pixels."""
    height, width = first.shape[2:]
    results, shares = first.clone(), []
    for number in range(len(first)):
        share = float(mixtures.share[number])
        if not mixtures.cut[number]:
            results[number] = (1 - share) * first[number] + share * second[number]
            shares.append(share)
            continue
        row, column = int(mixtures.row[number] * height), int(mixtures.column[number] * width)
        rows, columns = (int(0.5 * share**0.5 * size) for size in (height, width))
        area = 0
        for y in range(max(0, row - rows), min(height, row + rows)):
            for x in range(max(0, column - columns), min(width, column + columns)):
                results[number, :, y, x] = second[number, :, y, x]
                area += 1
        shares.append(area / (height * width))
    return results, torch.tensor(shares)


@pytest.mark.parametrize("augment", [MIXUP, CUTMIX, BOTH], ids=["mixup", "cutmix", "both"])
def test_pairs_are_mixed_as_one_by_one(augment):
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 200, 3, 12, 9, generator=generator)
    mixtures = in_slot(augment, 1).of(torch.arange(200))
    results, shares = mix(first, second, mixtures)
    expected, expected_shares = one_by_one(first, second, mixtures)
    torch.testing.assert_close(results, expected)
    torch.testing.assert_close(shares, expected_shares)


CROPS = {"pad": 2, "flip": True, "views": 5}


def loader(seed=0, **options):
    count = 23
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 6, 5), dtype=np.uint8)
    split = Split(images, np.arange(count), np.arange(count) + 50)
    augment = Augment(**{**CROPS, **options})
    constants = {"mean": (0.1, 0.5, 0.2), "std": (0.3, 1.0, 0.7)}
    return Batches(split, batch=4, train=True, augment=augment, seed=seed, classes=count, **constants)


def test_the_second_image_is_shown_in_its_view_of_the_same_slot():
    """Against the unmixed views, and the label of the second image, which names it."""
    for slot in range(5):
        (plain,) = loader().in_slot(slot, 23)
        (mixed_,) = loader(mixup=1.0).in_slot(slot, 23)
        own = mixed_.labels.diagonal()
        second = (mixed_.labels - torch.diag(own)).argmax(1)
        torch.testing.assert_close(mixed_.labels.sum(1), torch.ones(23))
        share = (1 - own).view(-1, 1, 1, 1)
        torch.testing.assert_close(mixed_.inputs, (1 - share) * plain.inputs + share * plain.inputs[second])


@pytest.mark.parametrize("options", [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}], ids=str)
def test_training_shows_the_mixtures_of_its_slots_in_every_seed_and_epoch(options):
    bank = [next(iter(loader(**options).in_slot(slot, 23))) for slot in range(5)]
    shown = set()
    for seed in (0, 1):
        batches = loader(seed, **options)
        for epoch in range(5):
            batches.set_epoch(epoch)
            for batch in batches:
                for row, (position, slot) in enumerate(zip(batch.position, batch.slot, strict=True)):
                    torch.testing.assert_close(batch.inputs[row], bank[slot].inputs[position])
                    torch.testing.assert_close(batch.labels[row], bank[slot].labels[position])
                    shown.add((seed, int(position), int(slot)))
    assert len(shown) == 2 * 23 * 5


def test_a_single_sample_stays_as_it_is():
    mixtures = in_slot(MIXUP, 0, np.array([4]))
    image = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(mix(image, image, mixtures)[0], image)
    assert mixtures.position.tolist() == [0]


def test_rows_of_numbers_are_mixed_in_slots():
    first, second = torch.rand(2, 10, 7)
    mixtures = in_slot(MIXUP, 0).of(torch.arange(10))
    share = mixtures.share[:, None]
    torch.testing.assert_close(mix(first, second, mixtures)[0], (1 - share) * first + share * second)
