"""What holds for each method: it learns, reaches only what it should, and leaves only the student behind."""

import pytest
import torch
from distill.networks import EXAMPLE, stripes, tiny
from distill.students import Stops, objective_of, run_fit, same_weights, student, training
from safetensors.torch import load_file

from kdbench.data.batches import Batch
from kdbench.distill.methods import METHODS
from kdbench.distill.objective import Objective
from kdbench.distill.training import fit

# Options for a small set and a short training.
OPTIONS = {
    "attention": {},
    "born_again": {},
    "contrastive": {"negatives": 32, "feature_dim": 16},
    "dkd": {"warmup": 0},
    "function_matching": {},
    "hint": {},
    "kd": {},
    "mse": {},
    "multi_teacher": {},
    "mutual": {},
    "relational": {},
}
EVERY = pytest.mark.parametrize("method", sorted(OPTIONS))


def test_every_shipped_method_is_tested_here():
    assert set(METHODS.names()) == set(OPTIONS)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Return the state dictionaries of two teachers that have learned the stripes."""
    learned = []
    for seed in (1, 2):
        network = tiny(seed, width=8)
        run_fit(tmp_path_factory.mktemp("teacher"), network, Objective(), training(epochs=6))
        learned.append(network.state_dict())
    return learned


def prepared(method, teachers, seed=0, **keys):
    """Return a fresh student, its loss, and its teachers."""
    learner, teacher_networks = tiny(seed, dropout=0.2), [tiny(width=8) for _ in teachers]
    for network, weights in zip(teacher_networks, teachers, strict=True):
        network.load_state_dict(weights)
    entry = student({"method": method, **OPTIONS[method]}, **keys)
    return learner, objective_of(entry, learner, *teacher_networks, labels=torch.arange(97) % 3), teacher_networks


@EVERY
def test_it_learns_and_leaves_only_the_students_weights(tmp_path, teachers, method):
    learner, objective, teacher_networks = prepared(method, teachers)
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in teacher_networks]
    summary = run_fit(tmp_path, learner, objective, training(epochs=2))
    losses = [row.train_loss for row in summary.curve]
    assert torch.isfinite(torch.tensor(losses)).all()
    assert losses[1] < losses[0]
    assert load_file(tmp_path / fit.WEIGHTS).keys() == tiny().state_dict().keys()
    assert summary.objective == objective.formula(2)
    assert all(same_weights(network.state_dict(), was) for network, was in zip(teacher_networks, before, strict=True))


@EVERY
def test_it_learns_in_bfloat16_channels_last_with_a_sample_left_over(tmp_path, teachers, method):
    learner, objective, _ = prepared(method, teachers)
    options = training(epochs=2, precision="bf16", channels_last=True)
    summary = run_fit(tmp_path, learner, objective, options, train=stripes(97))
    assert summary.curve[1].train_loss < summary.curve[0].train_loss
    assert {value.dtype for value in learner.state_dict().values()} <= {torch.float32, torch.int64}


@EVERY
def test_interrupted_and_resumed_it_ends_with_the_same_bits(tmp_path, teachers, method, monkeypatch):
    monkeypatch.setattr("kdbench.distill.training.loop.SAVE_INTERVAL_S", 0)
    options = training(epochs=2, keep="last")
    whole, objective, _ = prepared(method, teachers)
    run_fit(tmp_path / "whole", whole, objective, options)
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "cut", *prepared(method, teachers)[:2], options, progress=Stops(2))
    resumed, objective, _ = prepared(method, teachers, seed=77)
    run_fit(tmp_path / "cut", resumed, objective, options)
    assert same_weights(resumed.state_dict(), whole.state_dict())


@EVERY
def test_its_gradient_reaches_the_student_and_its_own_parameters_and_no_teacher(teachers, method):
    learner, objective, teacher_networks = prepared(method, teachers, ce_weight=0)
    batch = Batch(torch.cat([EXAMPLE, -EXAMPLE]), torch.tensor([0, 1, 2, 0]), torch.arange(4), torch.arange(4))
    loss, _ = objective(learner, batch, epoch=0)
    assert loss.shape == ()
    loss.backward()
    reached = {name.partition(".")[0] for name, p in learner.named_parameters() if p.grad is not None}
    assert "first" in reached
    assert all(p.grad is not None for p in objective.parameters())
    assert all(p.grad is None for network in teacher_networks for p in network.parameters())
    assert set(objective.parameters()).isdisjoint(p for network in teacher_networks for p in network.parameters())


@EVERY
def test_its_loss_is_float32_whatever_the_networks_compute_in(teachers, method):
    learner, objective, _ = prepared(method, teachers)
    batch = Batch(torch.cat([EXAMPLE, -EXAMPLE]), torch.tensor([0, 1, 2, 0]), torch.arange(4), torch.arange(4))
    with torch.autocast("cpu", torch.bfloat16):
        loss, logits = objective(learner, batch, epoch=0)
    assert (logits.dtype, loss.dtype) == (torch.bfloat16, torch.float32)


@EVERY
def test_its_description_and_formula_name_it_in_plain_numbers(teachers, method):
    _, objective, _ = prepared(method, teachers)
    assert METHODS.get(method).__doc__
    assert "{" not in objective.formula(10)
    assert set(OPTIONS[method]) <= set(METHODS.get(method).Options.model_fields)
