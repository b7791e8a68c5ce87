import pytest
import torch
from distill.networks import context, random_logits, step, tiny
from distill.students import objective_of, student

from kdbench.data.batches import Batch
from kdbench.distill.methods import METHODS


def mse(*teachers, **options):
    return METHODS.get("mse").from_recipe("mse", options, context(tiny(), *teachers))


def test_the_loss_is_the_weighted_mean_of_squared_differences():
    student_outputs, teacher_outputs = random_logits(seed=1), random_logits(seed=2)
    expected = 0.7 * float(((student_outputs - teacher_outputs) ** 2).sum()) / student_outputs.numel()
    loss = mse(mse_weight=0.7)(step(student_outputs, teacher_outputs))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_several_teachers_are_their_mean():
    outputs = [random_logits(seed=seed) for seed in range(3)]
    expected = 0.5 * ((outputs[0] - (outputs[1] + outputs[2]) / 2) ** 2).mean()
    method = mse(tiny(1), tiny(2))
    torch.testing.assert_close(method(step(*outputs)), expected)
    assert "2 teachers" in method.formula()


def test_beside_the_labels_of_a_regression_the_weights_are_those_of_two_squared_errors():
    network, teacher = tiny(), tiny(1, width=8)
    objective = objective_of(
        student({"method": "mse", "mse_weight": 0.25}, ce_weight=0.75), network, teacher, task="regression"
    )
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(4, *shape, generator=generator) for shape in ((1, 8, 8), (3,)))
    loss, outputs = objective(network, Batch(inputs, targets, torch.arange(4), torch.arange(4)), epoch=0)
    expected = 0.75 * ((outputs - targets) ** 2).mean() + 0.25 * ((outputs - teacher.eval()(inputs)) ** 2).mean()
    torch.testing.assert_close(loss, expected)
    assert objective.formula(1) == "0.75·MSE + 0.25·MSE(s, t)"
