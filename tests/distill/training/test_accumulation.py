"""Gradient accumulation beside loops in plain torch over the larger batches."""

import math

import pytest
import torch
from distill import cases
from distill.cases import TRAIN, VALIDATION, plain
from distill.networks import batches
from distill.students import training
from torch.nn import functional

from kdbench.data.batches import BatchPart, part_of
from kdbench.distill.objective import Objective
from kdbench.distill.training import fit
from kdbench.distill.training.accumulation import shares
from kdbench.progress import Silent

SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.9}


def trained(folder, network, split=TRAIN, **keys):
    options = training(keep="last", **keys)
    shown = batches(split, options.batch, train=True, seed=5)
    fixed = {"seed": 5, "folder": folder, "key": "k", "progress": Silent()}
    return fit.fit(network, Objective(), shown, batches(VALIDATION, 32), options, **fixed)


def trained_by_hand(network, batch, epochs, *, clip=None, warmup=0, split=TRAIN):
    """Train with batches of `batch`, a cosine and a warm-up over all updates."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    shown = batches(split, batch, train=True, seed=5)
    for epoch in range(epochs):
        shown.set_epoch(epoch)
        for index, one in enumerate(shown):
            time = epoch + index / len(shown)
            rise = min(1, (time + 1e-3) / warmup) if warmup else 1
            optimizer.param_groups[0]["lr"] = 0.1 * rise * (1 + math.cos(math.pi * time / epochs)) / 2
            optimizer.zero_grad()
            functional.cross_entropy(network(one.inputs), one.labels).backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()
    return network.state_dict()


@pytest.mark.parametrize("samples", [101, 97, 81, 64], ids=lambda samples: f"{samples} samples")
def test_two_batches_are_one_of_twice_the_size(tmp_path, samples):
    """The last update of an epoch has one batch, a batch of another size, or two whole ones."""
    split = TRAIN.subset(range(samples))
    network = plain()
    trained(tmp_path, network, split, batch=16, accumulate=2, optimizer=SGD)
    expected = trained_by_hand(plain(), 32, 4, split=split)
    torch.testing.assert_close(network.state_dict(), expected, rtol=1e-5, atol=1e-6)


def test_clip_acts_on_the_sum_and_the_schedule_on_the_updates(tmp_path):
    network = plain()
    options = {"clip": 0.05, "schedule": {"name": "cosine", "warmup": 1.5}}
    trained(tmp_path, network, batch=8, accumulate=4, optimizer=SGD, **options)
    expected = trained_by_hand(plain(), 32, 4, clip=0.05, warmup=1.5)
    torch.testing.assert_close(network.state_dict(), expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(expected["head.weight"], trained_by_hand(plain(), 32, 4, warmup=1.5)["head.weight"])


def test_more_batches_than_an_epoch_has_are_one_update(tmp_path):
    network = plain()
    trained(tmp_path, network, batch=16, accumulate=100, optimizer=SGD)
    torch.testing.assert_close(network.state_dict(), trained_by_hand(plain(), 101, 4), rtol=1e-5, atol=1e-6)


def test_in_bf16_gradients_add_up_in_float32(tmp_path):
    network, other = plain(), plain()
    options = {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0}, "schedule": {"name": "constant"}}
    trained(tmp_path, network, batch=16, accumulate=3, precision="bf16", epochs=2, **options)
    optimizer, shown = torch.optim.SGD(other.parameters(), lr=0.1), batches(TRAIN, 16, train=True, seed=5)
    for epoch in range(2):
        shown.set_epoch(epoch)
        seven = list(shown)
        for together in (seven[:3], seven[3:6], seven[6:]):
            optimizer.zero_grad()
            count = sum(len(one.labels) for one in together)
            for one in together:
                with torch.autocast("cpu", torch.bfloat16):
                    logits = other(one.inputs)
                (functional.cross_entropy(logits.float(), one.labels, reduction="sum") / count).backward()
            optimizer.step()
    torch.testing.assert_close(network.state_dict(), other.state_dict(), rtol=1e-3, atol=1e-4)


def test_one_batch_is_weighted_as_without_accumulation():
    parts = [BatchPart(0, 3, 3, 0.9), BatchPart(3, 5, 0, 0.0)]
    assert [share.weight for share in shares(parts, [7, 5], 1)] == [0.9, 0.0]
    assert all(share.first and share.last for share in shares(parts, [7, 5], 1))


def test_weights_over_all_processes_count_every_sample_once():
    sizes, processes = [16, 16, 16, 7, 2], 3
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    per_process = [
        shares(
            [part_of(start, start + size, rank, processes) for start, size in zip(starts, sizes, strict=True)], sizes, 2
        )
        for rank in range(processes)
    ]
    assert [share.update for share in per_process[0]] == [0, 0, 1, 1, 2]
    for index, together in enumerate([32, 32, 23, 23, 2]):
        mean = sum(process[index].weight for process in per_process) / processes
        assert mean == pytest.approx(sizes[index] / together)


@pytest.mark.parametrize("make", [cases.plain_labels])
def test_one_at_a_time_is_the_training_as_it_was(tmp_path, make):
    one, _ = cases.train(make, tmp_path / "one", accumulate=1)
    other, _ = cases.train(make, tmp_path / "other")
    assert all(torch.equal(one[name], other[name]) for name in other)
