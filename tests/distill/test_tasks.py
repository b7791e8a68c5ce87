"""Trainings on numbers instead of classes: against a loop written out in torch, and what they refuse."""

import copy
import csv
import itertools
import math

import numpy as np
import pytest
import torch
from distill.networks import batches, context, stripes, tiny
from distill.students import objective_of, student, training
from torch import nn

from kdbench.data.dataset import Split
from kdbench.distill.methods import METHODS
from kdbench.distill.objective import Objective, student_terms
from kdbench.distill.tasks import REGRESSION, TASKS, require_task
from kdbench.distill.training import fit
from kdbench.errors import InputError
from kdbench.progress import Silent
from kdbench.recipe import Examples, Training


def brightness(samples, seed=0):
    """Images of stripes, and as targets the means of their upper and lower half."""
    images = stripes(samples, seed).inputs
    halves = images.reshape(samples, 2, -1).mean(axis=2) / 255
    return Split(images, halves.astype(np.float32))


TRAIN, VALIDATION = brightness(96), brightness(45, seed=1)


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))


def trained(folder, network, objective, progress=None, **options):
    settings = training(**options)
    shuffled = batches(TRAIN, settings.batch, train=True, seed=5)
    return fit.fit(
        network, objective, shuffled, batches(VALIDATION), settings,
        seed=5, folder=folder, key="k", progress=progress or Silent(),
    )  # fmt: skip


def test_weights_and_curve_are_those_of_a_plain_loop(tmp_path):
    network, teacher = linear(), linear()
    with torch.no_grad():
        teacher[1].weight.mul_(0.5)
    bare = copy.deepcopy(network)
    entry = student({"method": "mse", "mse_weight": 0.4}, ce_weight=0.6)
    objective = objective_of(entry, network, teacher, task="regression")
    sgd = {"name": "sgd", "lr": 0.05, "momentum": 0.0}
    summary = trained(tmp_path, network, objective, epochs=3, optimizer=sgd, schedule={"name": "constant"}, keep="last")

    optimizer = torch.optim.SGD(bare.parameters(), lr=0.05)
    shuffled = batches(TRAIN, 16, train=True, seed=5)
    curve = []
    for epoch in range(3):
        shuffled.set_epoch(epoch)
        losses, errors = [], []
        for batch in shuffled:
            outputs = bare(batch.inputs)
            with torch.no_grad():
                learned = teacher(batch.inputs)
            loss = 0.6 * ((outputs - batch.labels) ** 2).mean() + 0.4 * ((outputs - learned) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            errors.append(((outputs - batch.labels) ** 2).mean().item())
        with torch.no_grad():
            inputs = torch.cat([batch.inputs for batch in batches(VALIDATION)])
            squares = (bare(inputs) - torch.from_numpy(VALIDATION.labels)) ** 2
        curve.append((np.mean(losses), np.mean(errors) ** 0.5, float(squares.mean())))

    torch.testing.assert_close(network[1].weight, bare[1].weight)
    for row, (loss, rmse, validation) in zip(summary.curve, curve, strict=True):
        assert row.train_loss == pytest.approx(loss, rel=1e-5)
        assert row.train_rmse == pytest.approx(rmse, rel=1e-5)
        assert row.validation_loss == pytest.approx(validation, rel=1e-5)
        assert row.validation_rmse == pytest.approx(validation**0.5, rel=1e-5)
        assert row.train_top1 is row.validation_top1 is None
    with (tmp_path / fit.CURVE).open() as stream:
        columns = csv.DictReader(stream).fieldnames
    assert "validation_rmse" in columns
    assert "validation_top1" not in columns


def test_the_best_epoch_has_the_smallest_validation_loss_and_patience_counts_from_it(tmp_path):
    """Steps that are too long: the error falls first, then grows."""
    options = {"epochs": 60, "patience": 3, "optimizer": {"name": "sgd", "lr": 0.02, "momentum": 0.99}}
    summary = trained(tmp_path, linear(), Objective(task=REGRESSION), **options)
    losses = [row.validation_loss for row in summary.curve]
    assert summary.best_epoch == summary.kept_epoch == 1 + int(np.argmin(losses))
    assert summary.epochs == summary.best_epoch + 3 < 60


def test_a_plateau_and_the_average_of_the_weights_need_no_classes(tmp_path):
    options = {"accumulate": 2, "ema": 0.9, "optimizer": {"name": "sgd", "lr": 0.02}}
    schedule = {"name": "plateau", "patience": 0, "threshold": 0.5}
    summary = trained(tmp_path, linear(), Objective(task=REGRESSION), epochs=8, schedule=schedule, **options)
    curve = summary.curve
    falls = [later.learning_rate < row.learning_rate for row, later in itertools.pairwise(curve)]
    best, expected = math.inf, []
    for row in curve[:-1]:
        better = row.validation_loss < 0.5 * best
        best = row.validation_loss if better else best
        expected.append(not better)
    assert falls == expected
    assert any(falls)


def test_progress_names_the_error_and_no_accuracy(tmp_path):
    details = []

    class Noting(Silent):
        def step(self, done, total, detail=""):
            details.append(detail)

    trained(tmp_path, linear(), Objective(task=REGRESSION), Noting(), epochs=1)
    assert "validation RMSE" in details[-1]


@pytest.mark.parametrize(
    ("examples", "options", "key"),
    [
        ({"label_noise": {"share": 0.1}}, {}, "label_noise"),
        ({"augment": {"mixup": 1.0}}, {}, "mixup"),
        ({"subset": {"first_per_class": 3}}, {}, "first_per_class"),
        ({}, {"label_smoothing": 0.1}, "label_smoothing"),
        ({}, {"schedule": {"name": "plateau", "monitor": "accuracy"}}, "monitor"),
    ],
)
def test_what_needs_classes_is_refused_for_numbers_and_no_other_way_round(examples, options, key):
    settings = Examples.model_validate(examples), Training.model_validate(options)
    with pytest.raises(InputError, match=key):
        require_task("regression", "student", *settings)
    require_task("classification", "student", *settings)


def test_noise_on_numbers_is_refused_for_classes():
    noisy = Examples.model_validate({"target_noise": {"std": 0.1}})
    with pytest.raises(InputError, match="target_noise") as caught:
        require_task("classification", "student", noisy, Training())
    assert "label_noise" in caught.value.hint
    require_task("regression", "student", noisy, Training())


@pytest.mark.parametrize("method", ["kd", "dkd", "contrastive", "mutual", "multi_teacher", "born_again"])
def test_a_method_that_compares_classes_is_refused_for_numbers(method):
    with pytest.raises(InputError, match=method) as caught:
        student_terms(student({"method": method}), context(tiny(), task="regression"))
    fitting = caught.value.hint.partition(": ")[2].split(", ")
    assert {"mse", "hint", "attention", "relational"} <= set(fitting)
    assert method not in fitting


@pytest.mark.parametrize("method", [name for name, kind in METHODS if not kind.needs_classes])
def test_a_method_without_classes_teaches_numbers(tmp_path, method):
    network = tiny(classes=2)
    objective = objective_of(student({"method": method}), network, tiny(1, width=8, classes=2), task="regression")
    summary = trained(tmp_path, network, objective, epochs=2)
    assert summary.curve[1].train_loss < summary.curve[0].train_loss


def test_a_task_is_named_as_its_data_set_names_it():
    assert all(task.name == name for name, task in TASKS.items())
