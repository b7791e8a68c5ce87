"""Mixtures against their definitions: each image with its neighbour's, labels by the same share."""

import pytest
import torch
from scipy import stats

from kdbench.data.mixing import Mixing
from kdbench.recipe import Augment

CLASSES = 8


def samples(count=8, size=16):
    """Images of one constant each, and a label of its own for every image."""
    values = torch.arange(1.0, count + 1)
    return values.view(-1, 1, 1, 1).expand(count, 3, size, size).clone(), torch.arange(count)


def mixed(augment, seed=0, epoch=0, number=0):
    return Mixing(augment, CLASSES, seed)(*samples(), epoch, number)


def share_of_first(labels):
    """The share of an image's own label, which must be the same in the whole batch."""
    own = labels.diagonal()
    assert torch.allclose(own, own[:1].expand_as(own))
    return float(own[0])


@pytest.mark.parametrize("augment", [Augment(mixup=1.0), Augment(cutmix=1.0)], ids=["mixup", "cutmix"])
def test_labels_are_distributions_over_an_image_and_its_neighbour(augment):
    for number in range(5):
        _, labels = mixed(augment, number=number)
        share = share_of_first(labels)
        expected = share * torch.eye(CLASSES) + (1 - share) * torch.eye(CLASSES).roll(1, 0)
        torch.testing.assert_close(labels, expected)


def test_mixup_is_the_weighted_sum_of_two_images():
    images, _ = samples()
    found, labels = mixed(Augment(mixup=1.0))
    share = share_of_first(labels)
    assert 0 < share < 1
    torch.testing.assert_close(found, share * images + (1 - share) * images.roll(1, 0))


def test_cutmix_takes_a_box_of_the_neighbour_and_its_area_as_the_labels_share():
    images, _ = samples()
    found, labels = mixed(Augment(cutmix=1.0), number=3)
    foreign = found == images.roll(1, 0)
    assert (foreign | (found == images)).all()
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
        found, _ = mixed(augment, number=number)
        blended += not bool((found == found.round()).all())
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
