import pytest
import torch
from distill.cases import TRAIN, VALIDATION
from distill.networks import batches, tiny
from distill.students import objective_of, student, training
from torch import nn

from kdbench.distill.module_paths import frozen_modules, longest_match, matches, require_paths
from kdbench.distill.objective import Objective
from kdbench.distill.training import fit
from kdbench.errors import InputError
from kdbench.progress import Silent


def trained(folder, network, objective=None, **keys):
    options = training(epochs=2, keep="last", **keys)
    shown, fixed = batches(TRAIN, 16, train=True, seed=5), {"seed": 5, "folder": folder, "key": "k"}
    return fit.fit(network, objective or Objective(), shown, batches(VALIDATION), options, **fixed, progress=Silent())


def changed(network, since):
    return {name for name, value in network.state_dict().items() if not torch.equal(value, since[name])}


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("first", "first."),
        (["first.*"], "first."),
        (["f*st", "second"], ("first.", "second.")),
        (["first.1"], "first.1."),
        (["second.0.bias"], "second.0.bias"),
    ],
)
def test_what_is_frozen_keeps_its_weights_and_statistics_and_all_else_learns(tmp_path, freeze, frozen):
    network = tiny(dropout=0.1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained(tmp_path, network, freeze=freeze, optimizer={"name": "adamw", "lr": 0.01, "weight_decay": 0.1})
    assert changed(network, before) == {name for name in before if not name.startswith(frozen)}


def test_frozen_batch_norm_uses_its_statistics_in_training(tmp_path):
    """Beside a loop in which the frozen part runs in evaluation mode."""
    network, other = tiny(), tiny()
    options = {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0}, "schedule": {"name": "constant"}}
    trained(tmp_path, network, freeze=["first"], ema=None, **options)
    optimizer = torch.optim.SGD([*other.second.parameters(), *other.head.parameters()], lr=0.1)
    shown = batches(TRAIN, 16, train=True, seed=5)
    other.first.eval()
    for epoch in range(2):
        shown.set_epoch(epoch)
        for one in shown:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(other(one.inputs), one.labels).backward()
            optimizer.step()
    torch.testing.assert_close(network.state_dict(), other.state_dict(), rtol=1e-5, atol=1e-6)


def test_a_regressor_learns_on_frozen_layers(tmp_path):
    learner, teacher = tiny(), tiny(1, width=8)
    objective = objective_of(student({"method": "hint", "student_layer": "first"}), learner, teacher)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    trained(tmp_path, learner, objective, freeze=["first"])
    assert changed(objective, before) == set(before)


def test_a_loss_of_frozen_layers_alone_is_refused(tmp_path):
    learner, teacher = tiny(), tiny(1, width=8)
    stages = {"method": "attention", "student_layers": ["first"], "teacher_layers": ["first"], "alone": True}
    objective = objective_of(student({**stages, "until_epoch": 1}), learner, teacher)
    with pytest.raises(InputError, match="epoch 1"):
        trained(tmp_path, learner, objective, freeze="first")


@pytest.mark.parametrize(
    ("freeze", "message", "hint"),
    [
        (["frist"], "'frist'", "'first'"),
        (["blocks.*"], "'blocks.*'", "first, second"),
        (["first.2"], "no parameters", "weights"),
        (["*"], "no parameter of TinyNet", "fewer"),
        (["first", "second", "head"], "no parameter of TinyNet", "fewer"),
    ],
)
def test_what_cannot_be_frozen_is_refused(freeze, message, hint):
    with pytest.raises(InputError) as caught:
        frozen_modules(tiny(), freeze)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_path_names_all_inside_it_and_no_namesake():
    assert matches("blocks.0.conv.weight", "blocks.0")
    assert matches("blocks.0.conv.weight", "*.conv")
    assert not matches("blocks.01.conv.weight", "blocks.0")
    assert matches("blocks.01.conv.weight", "blocks.0*")
    require_paths(tiny(), ["first.1.*"], "freeze")


def test_the_longest_match_counts_and_a_path_before_a_glob():
    patterns = ["blocks", "blocks.0", "blocks.*", "*"]
    paths = ("blocks.0.bias", "blocks.1.bias", "head.bias")
    assert [longest_match([path], patterns) for path in paths] == ["blocks.0", "blocks.*", "*"]
    assert longest_match(["head.bias"], ["blocks"]) is None


def test_a_tied_weight_belongs_to_all_its_modules() -> None:
    for pattern in ("first", "last"):
        network = nn.ModuleDict({"first": nn.Linear(3, 3), "last": nn.Linear(3, 3), "other": nn.Linear(3, 3)})
        network["last"].weight = network["first"].weight
        frozen_modules(network, [pattern])
        learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        assert learning == {"first.bias", "last.bias", "other.weight", "other.bias"} - {f"{pattern}.bias"}
