import numpy as np
import pytest
import torch

from kdbench.data.augment import slots_of_epoch
from kdbench.data.batches import Batch, Batches
from kdbench.data.dataset import Split
from kdbench.errors import InputError
from kdbench.recipe import Augment
from kdbench.worker.inputs import prepare
from kdbench.worker.jobs import JobModel

CHANGE = Augment(pad=2, flip=True)


def toy(count=23, channels=3):
    """Return images whose pixels are noise and whose labels are their positions."""
    images = np.random.default_rng(0).integers(0, 256, (count, channels, 6, 5), dtype=np.uint8)
    return Split(images, np.arange(count))


def batches(split=None, **options):
    values = {"batch": 4, "mean": (0.1, 0.5, 0.2), "std": (0.3, 1.0, 0.7), "train": True}
    return Batches(split or toy(), **(values | options))


def same(first, second):
    return len(first) == len(second) and all(
        a is b is None or torch.equal(a, b)
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("train", [True, False])
def test_an_epoch_holds_every_sample_once(train):
    loader = batches(train=train)
    seen = list(loader)
    assert len(seen) == len(loader) == 6
    index = torch.cat([batch.position for batch in seen])
    assert sorted(index.tolist()) == list(range(23))
    assert torch.equal(torch.cat([batch.labels for batch in seen]), index)
    assert (index.tolist() == list(range(23))) is not train


def test_a_left_over_sample_joins_in_training_only():
    sizes = {train: [len(batch.labels) for batch in batches(toy(9), train=train)] for train in (True, False)}
    assert sizes == {True: [4, 5], False: [4, 4, 1]}


def test_normalisation_is_that_of_torchvision():
    from torchvision.transforms.v2 import functional

    split = toy()
    expected = functional.normalize(
        torch.from_numpy(split.inputs).to(torch.float32) / 255, mean=[0.1, 0.5, 0.2], std=[0.3, 1.0, 0.7]
    )
    for options in ({"train": False}, {"train": True}, {"train": True, "channels_last": True}):
        for batch in batches(split, **options):
            assert isinstance(batch, Batch)
            assert batch.inputs.dtype == torch.float32
            assert batch.inputs.is_contiguous(
                memory_format=torch.channels_last if options.get("channels_last") else torch.contiguous_format
            )
            torch.testing.assert_close(batch.inputs, expected[batch.position], rtol=1e-6, atol=1e-6)


def test_the_resident_images_stay_as_they_were():
    split = toy()
    before = split.inputs.copy()
    list(batches(split, augment=CHANGE))
    assert np.array_equal(split.inputs, before)


def test_same_seed_and_epoch_same_bits_whatever_went_before():
    first, second = batches(augment=CHANGE, seed=5), batches(augment=CHANGE, seed=5)
    torch.manual_seed(1)
    second.set_epoch(1)
    list(second)
    next(iter(second))
    torch.manual_seed(2)
    for loader in (first, second):
        loader.set_epoch(3)
    assert same(list(first), list(second))
    assert same(list(first), list(first))


@pytest.mark.parametrize(("seed", "epoch"), [(5, 1), (6, 0), (-5, 0), (2**64 - 1, 0)])
def test_another_seed_or_epoch_is_another_order(seed, epoch):
    reference, other = batches(seed=5), batches(seed=seed)
    other.set_epoch(epoch)
    assert not same(list(reference), list(other))


def test_a_sample_changes_the_same_way_in_batches_of_any_size():
    views = []
    for batch in (4, 9):
        seen = list(batches(batch=batch, augment=CHANGE))
        order = torch.cat([b.position for b in seen]).argsort()
        views.append(torch.cat([b.inputs for b in seen])[order])
    assert torch.equal(*views)


def test_a_sample_changes_the_same_way_in_a_subset():
    split = toy()
    few = split.subset(np.array([20, 3, 11]))
    (whole,), (part,) = batches(split, batch=23, augment=CHANGE), batches(few, batch=23, augment=CHANGE)
    for position, sample in enumerate([20, 3, 11]):
        assert torch.equal(part.inputs[part.position == position], whole.inputs[whole.position == sample])


@pytest.mark.parametrize("augment", [Augment(), Augment(flip=True), Augment(pad=2, flip=True, views=5)], ids=str)
def test_a_batch_says_in_which_of_few_views_each_image_is(augment):
    loader = batches(augment=augment, seed=5)
    kept = [torch.cat([batch.inputs for batch in loader.in_slot(slot, 7)]) for slot in range(loader.slots)]
    for epoch in range(4):
        loader.set_epoch(epoch)
        for batch in loader:
            expected = torch.stack([kept[s][i] for s, i in zip(batch.slot, batch.position, strict=True)])
            assert torch.equal(batch.inputs, expected)
            wanted = slots_of_epoch(augment, np.arange(23), 5, epoch)
            assert batch.slot.tolist() == wanted[batch.position].tolist()


def test_what_a_teacher_is_asked_ahead_of_time_comes_in_order_with_its_slot():
    loader = batches(augment=Augment(pad=2, flip=True, views=5))
    requested = list(loader.in_slot(3, 10))
    assert [len(batch.labels) for batch in requested] == [10, 10, 3]
    assert torch.cat([batch.position for batch in requested]).tolist() == list(range(23))
    assert torch.cat([batch.labels for batch in requested]).tolist() == list(range(23))
    assert set(torch.cat([batch.slot for batch in requested]).tolist()) == {3}


def test_mixed_batches_keep_order_and_views_and_carry_distributions():
    plain, mixing = batches(augment=CHANGE), batches(augment=Augment(pad=2, flip=True, mixup=1.0), classes=23)
    for batch, mixed in zip(plain, mixing, strict=True):
        assert torch.equal(batch.position, mixed.position)
        label_shares = mixed.labels[torch.arange(len(batch.labels)), batch.labels]
        share = float(label_shares[0])
        torch.testing.assert_close(mixed.labels.sum(1), torch.ones(len(label_shares)))
        torch.testing.assert_close(mixed.inputs, share * batch.inputs + (1 - share) * batch.inputs.roll(1, 0))


SHARED = {
    "plain": {},
    "views": {"augment": CHANGE},
    "bank": {"augment": Augment(pad=2, flip=True, views=5)},
    "mixed": {"augment": Augment(pad=1, mixup=1.0, cutmix=1.0), "classes": 23},
    "mixed in slots": {"augment": Augment(pad=1, views=4, mixup=1.0, cutmix=1.0), "classes": 23},
    "evaluation": {"train": False},
}


@pytest.mark.parametrize("options", SHARED.values(), ids=SHARED)
@pytest.mark.parametrize("processes", [2, 3])
def test_the_parts_of_several_processes_make_up_the_batches_of_one(options, processes):
    loader = batches(batch=8, **options)
    shares = [loader.shared(rank, processes) for rank in range(processes)]
    for loader_ in (loader, *shares):
        loader_.set_epoch(2)
    assert {len(loader_) for loader_ in shares} == {len(loader)}
    for number, (whole, *samples) in enumerate(zip(loader, *shares, strict=True)):
        counted = [share.parts[number].counted for share in shares]
        counted_batches = [batch for batch, count in zip(samples, counted, strict=True) if count]
        assert [len(batch.labels) for batch in counted_batches] == [count for count in counted if count]
        joined = [None if parts[0] is None else torch.cat(parts) for parts in zip(*counted_batches, strict=True)]
        assert same([whole], [Batch(*joined)])


def test_a_left_over_too_small_to_share_is_given_to_all():
    loader = batches(toy(10), batch=8)
    samples = [list(loader.shared(rank, 2))[-1] for rank in range(2)]
    assert same(samples[:1], samples[1:])
    assert len(samples[0].labels) == 2
    assert [loader.shared(rank, 2).parts[-1].counted for rank in range(2)] == [2, 0]


def test_augmentation_is_drawn_anew_each_epoch_and_only_in_training():
    split = toy()
    plain = next(iter(batches(split, train=False, batch=23))).inputs
    assert torch.equal(next(iter(batches(split, train=False, batch=23, augment=CHANGE))).inputs, plain)
    loader, views = batches(split, batch=23, augment=CHANGE), []
    for epoch in range(2):
        loader.set_epoch(epoch)
        (batch,) = loader
        views.append(batch.inputs[batch.position.argsort()])
        assert not torch.equal(views[-1], plain)
    assert not torch.equal(*views)


@pytest.mark.parametrize(
    "options", [{"mean": (0.5,)}, {"std": (1.0, 1.0)}, {"std": (1.0, 0.0, 1.0)}, {"batch": 24, "drop_last": True}]
)
def test_what_does_not_fit_the_data_is_refused(options):
    with pytest.raises(InputError):
        batches(**options)


def numbers(*shape, count=23):
    inputs = np.random.default_rng(0).normal(1e4, 2, (count, *shape)).astype(np.float32)
    return Split(inputs, np.arange(count))


def of_numbers(split, axis=1, **options):
    channels = split.inputs.shape[axis]
    mean, std = tuple(1e4 + np.arange(channels)), tuple(1.0 + np.arange(channels))
    return Batches(split, **{"batch": 4, "mean": mean, "std": std, "channel_axis": axis, "train": False, **options})


@pytest.mark.parametrize(("shape", "axis"), [((5,), 1), ((6, 3), 2), ((3, 6), 1), ((13, 4, 5), 1), ((2, 3, 4, 5), 1)])
def test_numbers_are_normalised_along_their_axis_bit_for_bit_as_when_they_are_measured(shape, axis):
    split = numbers(*shape)
    loader = of_numbers(split, axis)
    result = torch.cat([batch.inputs for batch in loader])
    known = loader.normalisation
    model = JobModel(
        **dict.fromkeys(("id", "path", "input", "output"), ""), dtype="float32", layout="array", shape=shape,
        fixed_batch=None, mean=known["mean"], std=known["std"], channel_axis=axis,
    )  # fmt: skip
    np.testing.assert_array_equal(result.numpy(), prepare(split.inputs, model))
    along = [1] * split.inputs.ndim
    along[axis] = -1
    mean, std = (np.reshape(known[key], along) for key in ("mean", "std"))
    np.testing.assert_allclose(result, (split.inputs.astype(np.float64) - mean) / std, rtol=1e-6, atol=1e-6)


def test_token_ids_pass_unchanged():
    split = Split(np.arange(23 * 4).reshape(23, 4), np.arange(23))
    (batch,) = Batches(split, batch=23, mean=(), std=(), train=False)
    assert batch.inputs.dtype == torch.int64
    assert torch.equal(batch.inputs, torch.from_numpy(split.inputs))
    with pytest.raises(InputError, match="0 channels"):
        Batches(split, batch=4, mean=(0.0,), std=(1.0,), train=False)


def test_crops_of_numbers_are_padded_with_the_mean():
    """So that the border is 0 after normalisation, in any unit."""
    loader = of_numbers(numbers(3, 6, 5), train=True, augment=Augment(pad=4), batch=23)
    (batch,) = loader
    plain = torch.cat([one.inputs for one in of_numbers(numbers(3, 6, 5))])
    values = torch.cat([plain.flatten(), torch.zeros(1)])
    assert torch.isin(batch.inputs, values).all()
    assert (batch.inputs == 0).float().mean() > 0.1


def test_numbers_of_any_shape_are_mixed_and_their_labels_with_them():
    split = numbers(6, 3)
    (batch,) = of_numbers(split, 2, train=True, augment=Augment(mixup=1.0), classes=23, batch=23)
    plain = torch.cat([one.inputs for one in of_numbers(split, 2)])
    torch.testing.assert_close(batch.inputs, torch.einsum("bc,ctf->btf", batch.labels, plain), rtol=1e-4, atol=1e-4)


def test_channels_last_is_for_images():
    (batch,) = of_numbers(numbers(6, 3), 2, batch=23, channels_last=True)
    assert batch.inputs.is_contiguous()
