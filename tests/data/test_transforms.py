"""Transforms: what they get, what they must return, and that their random numbers are the batch's."""

import random

import numpy as np
import pytest
import torch

from kdbench.data.batches import Batches
from kdbench.data.dataset import Split
from kdbench.data.selection import key_of
from kdbench.data.transforms import _STREAM, TRANSFORMS, Transforming
from kdbench.errors import InputError
from kdbench.recipe import Augment, Transform

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 4), dtype=np.uint8)
SPLIT = Split(IMAGES, np.arange(10, dtype=np.int64) % 2)


def shift(inputs, generator, most=9):
    amount = torch.randint(0, most, (len(inputs), 1, 1, 1), generator=generator)
    return (inputs // 2 + amount).to(torch.uint8)


def shift_globally(inputs):
    amount = int(torch.randint(9, (1,))) + random.randrange(9)
    return inputs // 4 + amount + np.random.randint(9)  # noqa: NPY002 - as users do


class Shift:
    def __init__(self, most=9):
        self.most = most

    def __call__(self, inputs, generator):
        return shift(inputs, generator, self.most)


@pytest.fixture(autouse=True)
def _registered():
    for function in (shift, shift_globally, Shift):
        TRANSFORMS.register(function.__name__)(function)
    yield
    TRANSFORMS.forget(__name__)


def batches(name, **options):
    augment = Augment(transform={"name": name, **options})
    return Batches(SPLIT, batch=4, mean=(0.0,) * 3, std=(1.0,) * 3, train=True, augment=augment, seed=5)


def inputs_of(some, epoch=2):
    some.set_epoch(epoch)
    return [batch.inputs for batch in some]


@pytest.mark.parametrize("name", ["shift", "Shift"])
def test_a_transform_changes_pixels_before_normalisation_by_the_batchs_own_generator(name):
    order = [batch.position for batch in batches(name)]
    some = batches(name, most=4)
    some.set_epoch(2)
    for number, batch in enumerate(some):
        generator = torch.Generator().manual_seed(key_of(_STREAM, 5, 2, number))
        expected = shift(torch.from_numpy(IMAGES)[batch.position], generator, 4)
        torch.testing.assert_close(batch.inputs, expected.float() / 255)
    assert len(order) == 3


@pytest.mark.parametrize("name", ["shift", "shift_globally"])
def test_an_epoch_repeats_whatever_was_drawn_before_and_epochs_differ(name):
    first = inputs_of(batches(name))
    for draw in (torch.rand, np.random.rand):
        draw(3)
    state = torch.get_rng_state()
    second = inputs_of(batches(name))
    assert torch.equal(state, torch.get_rng_state())
    assert all(map(torch.equal, first, second))
    assert not all(map(torch.equal, sorted_images(first), sorted_images(inputs_of(batches(name), epoch=3))))


def sorted_images(batches_inputs):
    return [torch.cat(batches_inputs).flatten(1).sum(dim=1).sort().values]


def test_processes_together_see_the_batches_of_one():
    whole, parts = inputs_of(batches("shift")), [inputs_of(batches("shift").shared(rank, 2)) for rank in (0, 1)]
    for number in range(2):  # a last batch of two is computed by both
        torch.testing.assert_close(torch.cat([part[number] for part in parts]), whole[number])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda inputs: inputs.float(), r"torch.float32 for inputs"),
        (lambda inputs: inputs[:, :, 1:], r"\(2, 3, 3, 4\)"),
        (lambda inputs: None, "NoneType"),
        (lambda inputs: inputs / 0 + undefined, "NameError"),  # noqa: F821
        (3, "not a function"),
    ],
)
def test_what_is_no_change_of_the_inputs_is_refused(function, message):
    TRANSFORMS.register(f"broken {message}")(function)
    with pytest.raises(InputError, match=message) as caught:
        Transforming(Transform(name=f"broken {message}"), 0)(torch.from_numpy(IMAGES[:2]), 0, 0)
    assert caught.value.hint


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="unknown option 'mots'") as caught:
        Transforming(Transform(name="shift", mots=3), 0)
    assert caught.value.hint == "did you mean 'most'?"


def test_torchvisions_transforms_can_be_named():
    some = Transforming(Transform(name="torchvision.transforms.v2:RandomHorizontalFlip", p=1), 0)
    flipped = some(torch.from_numpy(IMAGES[:2]), 0, 0)
    assert torch.equal(flipped, torch.from_numpy(IMAGES[:2]).flip(-1))
