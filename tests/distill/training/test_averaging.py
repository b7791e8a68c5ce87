"""The average of the weights beside a loop in plain torch."""

import copy

import pytest
import torch
from distill.cases import TRAIN, VALIDATION
from distill.networks import batches, tiny
from distill.students import same_weights, training
from torch.nn import functional

from kdbench.distill.objective import Objective
from kdbench.distill.training import fit
from kdbench.distill.training.averaging import WeightAverage, decay_at
from kdbench.progress import Silent
from kdbench.recipe import Average

SGD = {"name": "sgd", "lr": 0.2, "momentum": 0}


def trained(folder, network, **keys):
    options = training(optimizer=SGD, schedule={"name": "constant"}, **keys)
    shown, fixed = batches(TRAIN, 16, train=True, seed=5), {"seed": 5, "folder": folder, "key": "k"}
    return fit.fit(network, Objective(), shown, batches(VALIDATION, 32), options, **fixed, progress=Silent())


def averaged_by_hand(network, decay, epochs, *, warmup=True):
    """Return the averages of a training after each epoch, and their validation loss and accuracy."""
    optimizer, shown = torch.optim.SGD(network.parameters(), lr=0.2), batches(TRAIN, 16, train=True, seed=5)
    average, update, rows = copy.deepcopy(network), 0, []
    for epoch in range(epochs):
        shown.set_epoch(epoch)
        network.train()
        for one in shown:
            optimizer.zero_grad()
            functional.cross_entropy(network(one.inputs), one.labels).backward()
            optimizer.step()
            update += 1
            d = min(decay, (1 + update) / (10 + update)) if warmup else decay
            for name, value in average.state_dict().items():
                new = network.state_dict()[name]
                value.copy_(d * value + (1 - d) * new if value.is_floating_point() else new)
        average.eval()
        with torch.no_grad():
            logits = torch.cat([average(one.inputs) for one in batches(VALIDATION, 32)])
        labels = torch.from_numpy(VALIDATION.labels)
        loss, top1 = functional.cross_entropy(logits, labels), (logits.argmax(1) == labels).float().mean()
        rows.append((copy.deepcopy(average.state_dict()), float(loss), float(top1)))
    return rows


@pytest.mark.parametrize("warmup", [True, False])
def test_the_average_is_validated_and_its_best_is_kept(tmp_path, warmup):
    ema = 0.9 if warmup else {"decay": 0.9, "warmup": False}
    network = tiny()
    summary = trained(tmp_path, network, ema=ema, epochs=6)
    expected = averaged_by_hand(tiny(), 0.9, 6, warmup=warmup)
    for row, (_, loss, top1) in zip(summary.curve, expected, strict=True):
        assert row.validation_loss == pytest.approx(loss, rel=1e-4)
        assert row.validation_top1 == pytest.approx(top1, abs=0.023)  # a sample on the edge
    kept = expected[summary.kept_epoch - 1][0]
    torch.testing.assert_close(network.state_dict(), kept, rtol=1e-4, atol=1e-5)
    assert same_weights(fit.load_file(tmp_path / fit.WEIGHTS), network.state_dict())
    plain = tiny()
    trained(tmp_path / "plain", plain, epochs=6)
    assert not torch.allclose(plain.head.weight, network.head.weight, rtol=1e-2)


def test_the_last_average_is_kept_of_a_training_that_keeps_the_last(tmp_path):
    network = tiny()
    trained(tmp_path, network, ema=0.99, keep="last", epochs=3)
    torch.testing.assert_close(network.state_dict(), averaged_by_hand(tiny(), 0.99, 3)[-1][0], rtol=1e-4, atol=1e-5)


class Centred(torch.nn.Module):
    """Replaces a buffer and a weight's data in its forward, as many networks do, in place of writing into them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = torch.nn.Conv2d(1, 4, 3), torch.nn.Linear(4, 3)
        self.register_buffer("centre", torch.zeros(4))

    def forward(self, images):
        features = self.body(images).relu().mean(dim=(2, 3))
        if self.training:
            self.head.weight.data = self.head.weight.data.clamp(-0.3, 0.3)
            self.centre = 0.5 * self.centre + 0.5 * features.detach().mean(dim=0)
        return self.head(features - self.centre)


def test_what_a_forward_replaces_is_averaged_too(tmp_path):
    network = Centred()
    summary = trained(tmp_path, network, ema=0.9, keep="last", epochs=3)
    kept, loss, _ = averaged_by_hand(Centred(), 0.9, 3)[-1]
    assert summary.curve[-1].validation_loss == pytest.approx(loss, rel=1e-4)
    torch.testing.assert_close(network.state_dict(), kept, rtol=1e-4, atol=1e-5)


def test_averaging_leaves_the_training_as_it_is(tmp_path):
    one = trained(tmp_path / "one", tiny(), ema=0.9)
    other = trained(tmp_path / "other", tiny())
    assert [row.train_loss for row in one.curve] == [row.train_loss for row in other.curve]


def test_decay_warms_up_to_what_it_is():
    assert [decay_at(Average(decay=0.5), update) for update in (1, 7, 8, 9)] == [2 / 11, 8 / 17, 0.5, 0.5]
    assert decay_at(Average(decay=0.5, warmup=False), 1) == 0.5


def test_a_mask_of_infinities_and_tied_weights_stay_what_they_are():
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    network[1].weight = network[0].weight
    network.register_buffer("mask", torch.full((3,), -torch.inf))
    average = WeightAverage(network, Average(decay=0.5, warmup=False))
    with torch.no_grad():
        before = network[0].weight.clone()
        network[0].weight += 1
    average.update(1)
    with average.in_network():
        torch.testing.assert_close(network[1].weight, before + 0.5)
        assert bool(network.mask.isinf().all())
    torch.testing.assert_close(network[1].weight, before + 1)
