import random

import pytest
import torch
from distill.cases import plain
from distill.networks import batches, tiny
from distill.students import TRAIN, run_fit, training
from torch import nn

from kdbench.distill.objective import Objective
from kdbench.distill.training.optimize import build_optimizer, learning_rate_factor, parameter_groups, plateau_factor
from kdbench.errors import InputError
from kdbench.recipe import Optimizer, Schedule, Training


def factor(epochs=10, **schedule):
    return learning_rate_factor(Training.model_validate({"epochs": epochs, "schedule": schedule}))


def test_cosine_is_torchs_cosine():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    ours = factor(name="cosine")
    for epoch in range(10):
        assert ours(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_steps_fall_at_milestones_given_as_epochs_or_shares():
    epochs = factor(240, name="step", milestones=[150, 180, 210], gamma=0.1)
    assert [round(epochs(e), 6) for e in (0, 149.9, 150, 180, 210, 239)] == [1, 1, 0.1, 0.01, 0.001, 0.001]
    shares = factor(10, name="step", milestones=[0.5], gamma=0.5)
    assert [shares(e) for e in (4.9, 5)] == [1, 0.5]


def test_onecycle_rises_to_one_and_falls_to_nothing():
    rate = factor(name="onecycle")
    assert rate(0) == pytest.approx(0.04)
    assert rate(3) == pytest.approx(1.0)
    assert rate(10) == 0
    assert rate(1) < rate(2) < rate(3) > rate(6) > rate(9)


def test_warmup_multiplies_the_schedule():
    assert factor(name="constant", warmup=2)(1) == pytest.approx(0.5, abs=1e-3)
    assert factor(name="constant", warmup=2)(5) == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_optimisers_by_name(name, kind):
    options = Optimizer(name=name, lr=0.3, weight_decay=0.01)
    built = build_optimizer(options, parameter_groups(options, torch.nn.Linear(1, 1)))
    assert type(built) is kind
    assert built.param_groups[0]["lr"] == 0.3
    assert built.param_groups[0]["weight_decay"] == 0.01


@pytest.mark.parametrize("patience", [0, 2])
@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_a_plateau_is_torchs_plateau(monitor, patience):
    draw = random.Random(patience)
    values = [1 / (1 + epoch) + draw.random() / 3 for epoch in range(60)] + [0.5] * 10
    if monitor == "accuracy":
        values = [1 - value for value in values]
    options = {"factor": 0.3, "patience": patience, "threshold": 0.01}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    mode = "min" if monitor == "loss" else "max"
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, eps=0.0, **options)
    schedule = Schedule(name="plateau", monitor=monitor, **options)
    factors = set()
    for epoch, value in enumerate(values, start=1):
        theirs.step(value)
        factors.add(plateau_factor(schedule, values[:epoch]))
        assert plateau_factor(schedule, values[:epoch]) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert len(factors) > 3


def test_a_training_falls_with_its_plateau(tmp_path):
    schedule = {"name": "plateau", "patience": 1, "factor": 0.5, "threshold": 0.2, "warmup": 1.5}
    options = training(epochs=14, schedule=schedule, optimizer={"name": "sgd", "lr": 0.4})
    curve = run_fit(tmp_path, tiny(), Objective(), options).curve
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5, threshold=0.2)
    for row in curve:
        rise = min(1, (row.epoch - 1 + 1e-3) / 1.5)
        assert row.learning_rate == pytest.approx(optimizer.param_groups[0]["lr"] * rise)
        theirs.step(row.validation_loss)
    assert curve[-1].learning_rate < 0.2


def groups_of(network, *others, **options):
    names = {id(p): name for root in (network, *others) for name, p in root.named_parameters()}
    groups = parameter_groups(Optimizer(**options), network, others)
    return {(group.factor, group.decays): [names[id(p)] for p in group.parameters] for group in groups}


def test_without_options_all_parameters_are_one_group_in_their_order():
    network = tiny()
    assert groups_of(network) == {(1.0, True): [name for name, _ in network.named_parameters()]}


def test_factors_are_those_of_the_longest_path_and_one_elsewhere():
    layers = {"first": 0.5, "first.1": 0.25, "head": 10.0}
    regressor = torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2)})
    assert groups_of(tiny(), regressor, layers=layers) == {
        (0.5, True): ["first.0.weight", "first.0.bias"],
        (0.25, True): ["first.1.weight", "first.1.bias"],
        (1.0, True): ["second.0.weight", "second.0.bias", "head.weight", "head.bias"],
        (10.0, True): ["head.weight", "head.bias"],
    }


def test_norms_and_biases_do_not_decay_where_they_need_not():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm((2, 2)), torch.nn.PReLU())
    network.scale = torch.nn.Parameter(torch.ones(()))
    assert groups_of(network, decay_norm_and_bias=False, layers={"0": 2.0}) == {
        (1.0, False): ["scale", "1.weight", "1.bias", "2.weight"],
        (2.0, True): ["0.weight"],
        (2.0, False): ["0.bias"],
    }


def test_a_tied_weight_has_the_rate_of_any_of_its_layers() -> None:
    network = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    groups = parameter_groups(Optimizer(layers={"1": 0.5}), network)
    assert [(group.factor, len(group.parameters)) for group in groups] == [(0.5, 2)]


def test_layers_learn_at_their_rates_as_torchs_groups_do(tmp_path):
    network, other = plain(), plain()
    keys = {"name": "adamw", "lr": 0.01, "weight_decay": 0.5, "layers": {"head": 5.0}, "decay_norm_and_bias": False}
    options = training(epochs=2, keep="last", schedule={"name": "constant"}, optimizer=keys)
    run_fit(tmp_path, network, Objective(), options)
    named = dict(other.named_parameters())
    flat = [p for name, p in named.items() if p.dim() == 1 and "head" not in name]
    full = [p for name, p in named.items() if p.dim() > 1 and "head" not in name]
    optimizer = torch.optim.AdamW(
        [
            {"params": full},
            {"params": flat, "weight_decay": 0.0},
            {"params": [other.head.weight], "lr": 0.05},
            {"params": [other.head.bias], "lr": 0.05, "weight_decay": 0.0},
        ],
        lr=0.01,
        weight_decay=0.5,
    )
    shown = batches(TRAIN, 16, train=True, seed=5)
    for epoch in range(2):
        shown.set_epoch(epoch)
        for one in shown:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(other(one.inputs), one.labels).backward()
            optimizer.step()
    torch.testing.assert_close(network.state_dict(), other.state_dict(), rtol=1e-5, atol=1e-6)


def test_a_layer_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="'haed'") as caught:
        parameter_groups(Optimizer(layers={"haed": 2.0}), tiny())
    assert "'head'" in caught.value.hint


def test_a_dotted_path_can_be_written_as_a_table_in_a_table():
    assert Optimizer(layers={"blocks": {"0": 0.1, "1": {"conv": 2}}}).layers == {"blocks.0": 0.1, "blocks.1.conv": 2.0}
