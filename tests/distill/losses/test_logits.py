"""Cross-entropy, and which answers are correct."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from distill.losses.example_logits import TEMPERATURES, logits, random_logits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from kdbench.distill.losses.logits import correct, cross_entropy, softened_kl


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_minus_the_log_probability_of_smoothed_labels(smoothing):
    values, _ = random_logits()
    labels = torch.arange(7)
    wanted = (1 - smoothing) * np.eye(11)[:7] + smoothing / 11
    expected = -(wanted * log_softmax(values.numpy(), axis=1)).sum(axis=1).mean()
    assert cross_entropy(values, labels, smoothing).item() == pytest.approx(expected, rel=1e-12)
    assert cross_entropy(values, F.one_hot(labels, 11), smoothing).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_with_mixed_labels_is_the_mixture_of_the_two(smoothing):
    """Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization": the loss is linear in the label."""
    values = random_logits()[0].float()
    first, second = torch.arange(7), torch.arange(7).flip(0) + 3
    mixed = 0.3 * F.one_hot(first, 11) + 0.7 * F.one_hot(second, 11)
    expected = 0.3 * cross_entropy(values, first, smoothing) + 0.7 * cross_entropy(values, second, smoothing)
    torch.testing.assert_close(cross_entropy(values, mixed, smoothing), expected)


@settings(deadline=None)
@given(logits(1e4), st.sampled_from(TEMPERATURES))
def test_losses_and_gradients_are_finite_for_large_logits(pair, temperature):
    student, teacher = pair
    student = student.clone().requires_grad_()
    loss = softened_kl(student, teacher, temperature) + cross_entropy(student, torch.tensor([0, 1, 2]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("distance", [0.05, 0.3, 1.0])
def test_losses_of_bfloat16_logits_are_those_of_the_same_logits_in_float32(distance, autocast):
    """CPU autocast leaves log_softmax in bfloat16, which made the divergence of a good student negative."""
    torch.manual_seed(0)
    teacher = torch.randn(128, 100).bfloat16()
    student = (teacher + distance * torch.randn(128, 100)).bfloat16()
    labels = torch.arange(100).repeat(2)[:128]
    soft = F.one_hot(labels, 100).bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        divergence, hard_loss = softened_kl(student, teacher, 4.0), cross_entropy(student, labels)
        soft_loss = cross_entropy(student, soft)
    torch.testing.assert_close(divergence, softened_kl(student.float(), teacher.float(), 4.0))
    torch.testing.assert_close(hard_loss, F.cross_entropy(student.float(), labels))
    torch.testing.assert_close(soft_loss, hard_loss)
    assert divergence > 0


def test_correct_counts_labels_ranked_first():
    values = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0], [0.0, 0.0, 5.0]])
    assert correct(values, torch.tensor([1, 1, 2])).item() == 2


def test_correct_takes_the_most_probable_class_of_mixed_labels():
    values = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0]])
    assert correct(values, torch.tensor([[0.4, 0.6, 0.0], [0.4, 0.6, 0.0]])).item() == 1
