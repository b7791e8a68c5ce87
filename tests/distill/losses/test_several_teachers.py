"""Losses against several teachers: ensembles, mean and mutual divergences."""

import numpy as np
import pytest
import torch
from distill.losses.example_logits import networks
from scipy.special import rel_entr, softmax

from kdbench.distill.losses.logits import ensemble_logits, kl_divergence, mean_kl, mutual_kl, softened_kl


def test_ensemble_logits_are_the_log_of_the_mean_probability():
    """Also their constant: n teachers, not n samples. Code in circulation subtracts the log of the batch's size."""
    teachers = networks()
    expected = np.log(np.mean([softmax(teacher.numpy(), axis=1) for teacher in teachers], axis=0))
    np.testing.assert_allclose(ensemble_logits(teachers), expected, rtol=1e-12)


def test_an_ensemble_of_one_is_that_teacher():
    student, teacher = networks(2)
    assert softened_kl(student, ensemble_logits([teacher]), 4.0).item() == pytest.approx(
        softened_kl(student, teacher, 4.0).item(), rel=1e-12
    )


def test_ensemble_logits_stay_finite_for_sure_teachers():
    sure = torch.tensor([[1000.0, -1000.0]])
    torch.testing.assert_close(ensemble_logits([sure, -sure]), torch.full((1, 2), 0.5).log())


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_mean_kl_is_the_mean_of_scipys_relative_entropies(temperature):
    student, *teachers = networks(4)
    p_s = softmax(student.numpy() / temperature, axis=1)
    divergences = [rel_entr(softmax(teacher.numpy() / temperature, axis=1), p_s).sum(axis=1) for teacher in teachers]
    expected = temperature**2 * np.mean(divergences)
    assert mean_kl(student, teachers, temperature).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_mean_kl_has_the_gradient_of_the_mean_softened_probability(temperature):
    student, *teachers = networks(4)
    student.requires_grad_()
    (result,) = torch.autograd.grad(mean_kl(student, teachers, temperature), student)
    mean = torch.stack([(teacher / temperature).softmax(1) for teacher in teachers]).mean(dim=0)
    divergence = temperature**2 * kl_divergence((student / temperature).log_softmax(1), mean.log())
    (expected,) = torch.autograd.grad(divergence, student)
    torch.testing.assert_close(result, expected)


def test_the_two_targets_teach_the_same_at_temperature_one_alone():
    student, *teachers = networks(4)
    student.requires_grad_()

    def gradients(temperature):
        losses = mean_kl(student, teachers, temperature), softened_kl(student, ensemble_logits(teachers), temperature)
        return [torch.autograd.grad(loss, student)[0] for loss in losses]

    torch.testing.assert_close(*gradients(1.0))
    mean, ensemble = gradients(4.0)
    assert (mean - ensemble).abs().max() > 0.01


def test_mutual_kl_is_the_mean_divergence_from_the_peers():
    student, *peers = networks(4)
    expected = np.mean([softened_kl(student, peer, 1.0).item() for peer in peers])
    assert mutual_kl(student, peers).item() == pytest.approx(expected, rel=1e-12)


def test_mutual_kl_gives_no_gradient_to_a_peer():
    student, peer = (logits.requires_grad_() for logits in networks(2))
    mutual_kl(student, [peer]).backward()
    assert student.grad.abs().max() > 0
    assert peer.grad is None


def test_bfloat16_logits_count_as_float32():
    student, *teachers = (logits.bfloat16() for logits in networks(4))
    wide = [teacher.float() for teacher in teachers]
    with torch.autocast("cpu", torch.bfloat16):
        mean, logits = mean_kl(student, teachers, 4.0), ensemble_logits(teachers)
    torch.testing.assert_close(mean, mean_kl(student.float(), wide, 4.0), rtol=0, atol=0)
    torch.testing.assert_close(logits, ensemble_logits(wide), rtol=0, atol=0)
