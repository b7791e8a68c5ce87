"""The training loop beside loops in plain torch: what a network's layers do while it is trained."""

import copy

import pytest
import torch
from distill.networks import batches, context, tiny
from distill.students import TRAIN, objective_of, run_fit, student, training
from torch import nn
from torch.nn import functional

from kdbench.data.selection import key_of
from kdbench.distill.method import Method, MethodOptions
from kdbench.distill.objective import Objective, ScheduledTerm, student_terms
from kdbench.distill.teaching.teachers import LiveTeacher
from kdbench.distill.training.loop import _STEP_STREAM

PLAIN = {
    "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0, "weight_decay": 0},
    "schedule": {"name": "constant"},
    "epochs": 2,
    "keep": "last",
}


def trained_by_hand(network, loss_of=lambda logits, batch: functional.cross_entropy(logits, batch.labels)):
    """Train a network as PLAIN says, in training mode; return the mean loss of each epoch."""
    network.train()
    optimizer, losses = torch.optim.SGD(network.parameters(), lr=0.05), []
    shown = batches(TRAIN, 16, train=True, seed=5)
    for epoch in range(2):
        shown.set_epoch(epoch)
        torch.manual_seed(key_of(_STEP_STREAM, 5, epoch, 0))  # of dropout
        for batch in shown:
            loss = loss_of(network(batch.inputs), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return torch.tensor(losses).view(2, -1).mean(dim=1)


def require_trained_alike(summary, network, expected_losses, expected):
    losses = torch.tensor([row.train_loss for row in summary.curve])
    torch.testing.assert_close(losses, expected_losses, rtol=1e-5, atol=0)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def half_in_training(network):
    network.eval()
    network.first.train()


@pytest.mark.parametrize("leave", [nn.Module.train, nn.Module.eval, half_in_training])
def test_dropout_and_batch_norm_work_whatever_mode_a_network_was_built_in(tmp_path, leave):
    network = tiny(dropout=0.5)
    expected = copy.deepcopy(network)
    losses = trained_by_hand(expected)
    leave(network)
    summary = run_fit(tmp_path, network, Objective(), training(**PLAIN))
    require_trained_alike(summary, network, losses, expected)
    assert expected.first[1].num_batches_tracked == 12
    assert not any(module.training for module in network.modules())


def test_a_network_that_is_left_in_evaluation_mode_starts_the_next_epoch_in_training_mode(tmp_path):
    network = tiny(dropout=0.5)
    expected = copy.deepcopy(network)
    losses = trained_by_hand(expected)
    calls = []

    def leave_after_an_epoch(*_) -> None:
        calls.append(1)
        if len(calls) == 6:
            network.eval()

    network.register_forward_hook(leave_after_an_epoch)
    summary = run_fit(tmp_path, network, Objective(), training(**PLAIN))
    require_trained_alike(summary, network, losses, expected)


class Tabled(nn.Module):
    """Makes a table for as many samples as it has seen at most: the first time for the larger validation batches."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head, self.table = nn.Linear(64, 3), torch.ones(1, 1)

    def forward(self, images):
        if len(self.table) < len(images):
            self.table = torch.full((images.shape[0], 1), 1.5)
        return self.head(images.flatten(1)) * self.table[: images.shape[0]]


def test_a_table_that_a_network_makes_in_validation_serves_the_next_epoch(tmp_path):
    network = Tabled()
    losses = trained_by_hand(expected := copy.deepcopy(network))
    summary = run_fit(tmp_path, network, Objective(), training(**PLAIN))
    require_trained_alike(summary, network, losses, expected)


def test_peers_learn_in_training_mode(tmp_path):
    entry, peers = student({"method": "mutual"}), []

    def build(_model, number):
        peers.append(tiny(100 + number, dropout=0.5).eval())
        return peers[-1]

    objective = objective_of(entry, network := tiny(), build=build)
    assert objective.terms[0].method.peers[0] is peers[0]
    modes = []
    peers[0].register_forward_pre_hook(lambda *_: modes.append({module.training for module in peers[0].modules()}))
    run_fit(tmp_path, network, objective, training(**PLAIN))
    assert modes == [{True}] * 12
    assert peers[0].first[1].num_batches_tracked == 12


class HoldsTeacher(Method):
    """A term that holds its teacher as a submodule and switches its modules to training mode in every step."""

    Options = MethodOptions

    def __init__(self, options, context) -> None:
        super().__init__(options, context)
        self.teacher = context.teacher

    def forward(self, step):
        result = (step.student_logits - step.teacher_logits).square().mean()
        self.requires_grad_(False)
        nn.Module.train(self)
        return result

    def formula(self) -> str:
        return "MSE"


def test_a_teacher_stays_in_evaluation_mode_whatever_a_method_does(tmp_path):
    network, teacher = tiny(), tiny(1, width=8, dropout=0.5).train()
    guide, expected = copy.deepcopy(teacher).eval(), copy.deepcopy(network)
    before = copy.deepcopy(teacher.state_dict())
    losses = trained_by_hand(
        expected,
        lambda logits, batch: (
            functional.cross_entropy(logits, batch.labels) + (logits - guide(batch.inputs).detach()).square().mean()
        ),
    )
    term = ScheduledTerm(HoldsTeacher(MethodOptions(), context(network, teacher)))
    objective = Objective(terms=[term], teachers=[LiveTeacher(teacher)])
    summary = run_fit(tmp_path, network, objective, training(**PLAIN))
    require_trained_alike(summary, network, losses, expected)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_switching_a_method_to_training_leaves_its_teacher_alone():
    (term,) = student_terms(student({"method": "kd"}), context(tiny(), teacher := tiny(1).eval()))
    term.method.teacher = teacher
    term.train()
    assert term.method.training
    assert not any(module.training for module in teacher.modules())


class HoldsStudent(Method):
    """A term that keeps the student's first layer near its initial weights, and so holds the student as a submodule."""

    needs_teacher = False

    def __init__(self, options, context) -> None:
        super().__init__(options, context)
        self.student = context.student
        self.register_buffer("initial", context.student.first[0].weight.detach().clone())

    def forward(self, step):
        return 10 * (self.student.first[0].weight - self.initial).square().sum()


@pytest.mark.parametrize("factors", [{}, {"layers": {"first": 1.0}, "decay_norm_and_bias": False}])
def test_a_step_is_one_step_for_a_method_that_holds_the_student(tmp_path, factors):
    network = tiny()
    expected, initial = copy.deepcopy(network), network.first[0].weight.detach().clone()
    losses = trained_by_hand(
        expected,
        lambda logits, batch: (
            functional.cross_entropy(logits, batch.labels) + 10 * (expected.first[0].weight - initial).square().sum()
        ),
    )
    objective = Objective(terms=[ScheduledTerm(HoldsStudent(MethodOptions(), context(network)))])
    options = training(**{**PLAIN, "optimizer": PLAIN["optimizer"] | factors})
    summary = run_fit(tmp_path, network, objective, options)
    require_trained_alike(summary, network, losses, expected)
