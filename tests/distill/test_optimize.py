import pytest
import torch

from kdbench.distill.optimize import build_optimizer, learning_rate_factor
from kdbench.recipe import Optimizer, Training


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
    built = build_optimizer(Optimizer(name=name, lr=0.3, weight_decay=0.01), [torch.nn.Parameter(torch.zeros(1))])
    assert type(built) is kind
    assert built.param_groups[0]["lr"] == 0.3
    assert built.param_groups[0]["weight_decay"] == 0.01
