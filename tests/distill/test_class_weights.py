"""Class weights: against scikit-learn's, torch's loss, and a bare loop over whole updates."""

import cases
import numpy as np
import pytest
import torch
from cases import TRAIN, VALIDATION, plain
from networks import batches
from sklearn.utils.class_weight import compute_class_weight
from students import training
from torch.nn import functional

from kdbench.distill.class_weights import class_weights
from kdbench.distill.losses.logits import weighted_cross_entropy
from kdbench.distill.objective import Objective
from kdbench.distill.training import fit
from kdbench.errors import InputError
from kdbench.progress import Silent

WEIGHTS = (0.2, 1.0, 3.0)


def test_balanced_weights_are_scikit_learns_where_every_class_occurs():
    labels = np.repeat([0, 1, 2], [70, 25, 5])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights("balanced", labels, 3, "m") == pytest.approx(tuple(expected))
    assert class_weights("balanced", labels, 4, "m") == pytest.approx((*expected * 3 / 4, 0.0))


def test_a_list_has_one_weight_per_class():
    assert class_weights(WEIGHTS, TRAIN.labels, 3, "m") == WEIGHTS
    with pytest.raises(InputError, match="3 values, and the data has 4 classes"):
        class_weights(WEIGHTS, TRAIN.labels, 4, "m")


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("mixed", [False, True], ids=["classes", "distributions"])
def test_the_loss_is_torchs(smoothing, mixed):
    torch.manual_seed(0)
    logits, weights = torch.randn(8, 3), torch.tensor(WEIGHTS)
    labels = torch.randn(8, 3).softmax(1) if mixed else torch.randint(0, 3, (8,))
    expected = functional.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, smoothing, weights, None), expected)


@pytest.mark.parametrize("processes", [2, 3])
def test_parts_of_an_update_add_up_to_the_loss_of_the_whole(processes):
    """As the loop adds them: each process's mean, weighted by its share of the update's samples."""
    network, weights = plain(), torch.tensor(WEIGHTS)
    shown = batches(TRAIN, 16, train=True, seed=5, class_weights=WEIGHTS, accumulate=2)
    whole = list(batches(TRAIN, 32, train=True, seed=5))
    sums = [0.0] * len(whole)
    for rank in range(processes):
        part = shown.shared(rank, processes)
        for index, (batch, bounds) in enumerate(zip(part, part.parts, strict=True)):
            loss = weighted_cross_entropy(network(batch.inputs), batch.labels, 0.1, weights, batch.mean_weight)
            share = bounds.weight * shown.sizes[index] / len(whole[index // 2].labels)
            sums[index // 2] += float(loss.detach()) * share / processes
    with torch.no_grad():
        logits = [network(batch.inputs) for batch in whole]
    options = {"weight": weights, "label_smoothing": 0.1}
    expected = [float(functional.cross_entropy(z, b.labels, **options)) for z, b in zip(logits, whole, strict=True)]
    assert sums == pytest.approx(expected, rel=1e-5)


def test_a_training_is_a_bare_loop_with_torchs_weighted_loss(tmp_path):
    network = plain()
    sgd = {"name": "sgd", "lr": 0.1, "momentum": 0.0}
    options = training(keep="last", batch=16, accumulate=2, optimizer=sgd, schedule={"name": "constant"})
    shown = batches(TRAIN, 16, train=True, seed=5, class_weights=WEIGHTS, accumulate=2)
    objective = Objective(class_weights=WEIGHTS)
    fixed = {"seed": 5, "folder": tmp_path, "key": "k", "progress": Silent()}
    summary = fit.fit(network, objective, shown, batches(VALIDATION, 32), options, **fixed)
    by_hand, whole = plain(), batches(TRAIN, 32, train=True, seed=5)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for epoch in range(options.epochs):
        whole.set_epoch(epoch)
        for batch in whole:
            optimizer.zero_grad()
            logits = by_hand(batch.inputs)
            functional.cross_entropy(logits, batch.labels, weight=torch.tensor(WEIGHTS)).backward()
            optimizer.step()
    torch.testing.assert_close(network.state_dict(), by_hand.state_dict(), rtol=1e-5, atol=1e-6)
    assert summary.objective == "CE (class weights 0.2, 1, 3)"


def test_weights_stay_out_of_what_is_saved(tmp_path):
    saved, _ = cases.train(cases.plain_labels, tmp_path)
    assert not [name for name in saved if "class_weights" in name]
    assert "class_weights" not in Objective(class_weights=WEIGHTS).state_dict()
