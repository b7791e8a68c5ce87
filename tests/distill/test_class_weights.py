"""Class weights: against scikit-learn's, torch's loss, and a bare loop over whole updates."""

import numpy as np
import pytest
import torch
from distill import cases
from distill.cases import TRAIN, VALIDATION, plain
from distill.networks import batches, context
from distill.students import training
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from kdbench.distill.class_weights import class_weights
from kdbench.distill.losses.logits import weighted_cross_entropy
from kdbench.distill.methods.mutual import Mutual
from kdbench.distill.objective import Objective, ScheduledTerm
from kdbench.distill.training import fit
from kdbench.distill.training.processes import process_group
from kdbench.distill.training.tally import Tally, means
from kdbench.errors import InputError
from kdbench.progress import Silent

WEIGHTS = (0.2, 1.0, 3.0)
UNEVEN = VALIDATION.subset([*range(0, 45, 3), *range(1, 20, 3), 2, 5])


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


def test_validation_is_weighted_as_torch_and_scikit_learn_weigh_it(tmp_path):
    network, objective = plain(), Objective(class_weights=WEIGHTS)
    fixed = {"seed": 5, "folder": tmp_path, "key": "k", "progress": Silent()}
    shown = batches(TRAIN, 16, train=True, seed=5, class_weights=WEIGHTS)
    summary = fit.fit(network, objective, shown, batches(UNEVEN, 4), training(keep="last", epochs=2), **fixed)
    (whole,) = batches(UNEVEN, len(UNEVEN))
    with torch.no_grad():
        logits = network(whole.inputs)
    row, chosen = summary.curve[-1], logits.argmax(dim=1).numpy()
    loss = functional.cross_entropy(logits, whole.labels, weight=torch.tensor(WEIGHTS))
    assert row.validation_loss == pytest.approx(float(loss), rel=1e-5)
    weights = np.array(WEIGHTS)[UNEVEN.labels]
    accuracy = accuracy_score(UNEVEN.labels, chosen, sample_weight=weights)
    assert row.validation_weighted_top1 == pytest.approx(accuracy)
    assert row.validation_score == row.validation_weighted_top1
    assert row.validation_top1 == pytest.approx(accuracy_score(UNEVEN.labels, chosen))
    assert row.validation_top1 != row.validation_weighted_top1
    assert row.columns["validation_weighted_top1"] == row.validation_weighted_top1


def test_balanced_weights_choose_by_balanced_accuracy():
    tally, generator = Tally(class_weights=torch.tensor(class_weights("balanced", UNEVEN.labels, 3, "m"))), 0
    logits = torch.randn(len(UNEVEN), 3, generator=torch.Generator().manual_seed(generator))
    labels = torch.from_numpy(UNEVEN.labels)
    for part in torch.arange(len(labels)).split(7):
        tally.add(torch.tensor(0.0), logits[part], labels[part], len(part))
    (mean,) = means([tally], process_group())
    assert mean.weighted_score == pytest.approx(balanced_accuracy_score(UNEVEN.labels, logits.argmax(dim=1)))
    assert mean.score == pytest.approx(accuracy_score(UNEVEN.labels, logits.argmax(dim=1)))


def test_batches_and_processes_without_weight_do_not_count():
    tally, labels = Tally(class_weights=torch.tensor([0.0, 2.0, 1.0])), torch.tensor([0, 0])
    tally.add(torch.tensor(float("nan")), torch.eye(3)[:2], labels, 2)
    tally.add(torch.tensor(0.5), torch.eye(3)[[1, 1]], torch.tensor([1, 2]), 2)
    (mean,) = means([tally], process_group())
    assert mean == (0.5, 0.5, pytest.approx(2 / 3))


def test_peers_learn_from_weighted_labels_too():
    peers = Objective(terms=[ScheduledTerm(Mutual.from_recipe("mutual", {"mutual_weight": 0}, context()))])
    weighted = Objective(ce_weight=0, terms=peers.terms, class_weights=WEIGHTS)
    whole = next(iter(batches(TRAIN, 9, train=True, class_weights=WEIGHTS)))
    (peer,) = weighted.terms[0].method.peers
    peer.eval()
    loss, _ = weighted(plain(), whole, 0)
    expected = functional.cross_entropy(peer(whole.inputs), whole.labels, weight=torch.tensor(WEIGHTS))
    torch.testing.assert_close(loss, expected)


def test_weights_stay_out_of_what_is_saved(tmp_path):
    saved, _ = cases.train(cases.plain_labels, tmp_path)
    assert not [name for name in saved if "class_weights" in name]
    assert "class_weights" not in Objective(class_weights=WEIGHTS).state_dict()
