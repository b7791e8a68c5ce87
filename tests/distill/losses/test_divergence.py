"""The softened divergence from teacher to student, against torch, scipy and the published derivation."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from distill.losses.example_logits import FOUR, TEMPERATURES, TEN, logits, random_logits, row
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from torch.distributions import Categorical
from torch.distributions import kl_divergence as categorical_kl

from kdbench.distill.losses.logits import kl_divergence, softened_kl


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_softened_kl_is_t_squared_times_the_divergence_torch_computes(temperature):
    student, teacher = random_logits()
    independent = categorical_kl(Categorical(logits=teacher / temperature), Categorical(logits=student / temperature))
    expected = temperature**2 * independent.mean()
    assert softened_kl(student, teacher, temperature).item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_softened_kl_is_t_squared_times_scipys_relative_entropy(temperature):
    student, teacher = random_logits(1)
    entropy = rel_entr(softmax(teacher.numpy() / temperature, axis=1), softmax(student.numpy() / temperature, axis=1))
    expected = temperature**2 * entropy.sum() / 7
    assert softened_kl(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gradient_of_the_softened_divergence_is_that_of_the_derivation(temperature):
    """d KL^T / d z_i = (p_s - p_t) / T of one sample, before the factor T²; the batch mean divides by B.

    Ahad, "Knowledge Distillation Techniques", section 2.1; Hinton, Vinyals, Dean 2015, eq. 2.
    """
    student, teacher = random_logits(2)
    student.requires_grad_()
    divergence = kl_divergence((student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1))
    divergence.backward()
    difference = softmax(student.detach().numpy() / temperature, axis=1) - softmax(teacher / temperature, axis=1)
    np.testing.assert_allclose(student.grad, difference / temperature / 7, atol=1e-14)

    student.grad = None
    softened_kl(student, teacher, temperature).backward()
    np.testing.assert_allclose(student.grad, difference * temperature / 7, atol=1e-13)


def test_at_high_temperature_the_loss_matches_logits_and_not_softmaxes():
    """Hinton, Vinyals, Dean 2015, eq. 4: T² · KL tends to Σ (z_s - z_t)² / 2C for logits of zero mean.

    The mean squared error of softmaxes, which goes under the name of the original loss, is another number. A loss
    that dropped T² would tend to 0.
    """
    student, teacher = (values - values.mean(dim=1, keepdim=True) for values in random_logits(3))
    result = softened_kl(student, teacher, 1e4).item()
    assert result == pytest.approx(((student - teacher) ** 2).sum().item() / (2 * 11 * 7), rel=1e-3)
    assert result > 10 * F.mse_loss(student.softmax(1), teacher.softmax(1)).item()


def test_the_gradients_size_hardly_depends_on_a_high_temperature():
    """Without T² it would shrink by 16 from T = 10 to T = 40."""
    student, teacher = random_logits(4)
    student.requires_grad_()
    sizes = []
    for temperature in (10.0, 40.0):
        student.grad = None
        softened_kl(student, teacher, temperature).backward()
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.2)


def test_the_divergence_is_summed_over_classes_and_averaged_over_samples():
    """`kl_div` with reduction "mean" divides by the classes too: C times too small."""
    student, teacher = (values.log_softmax(1) for values in random_logits(5))
    pairs = zip(student, teacher, strict=True)
    by_sample = [
        categorical_kl(Categorical(logits=teacher_row), Categorical(logits=student_row)).item()
        for student_row, teacher_row in pairs
    ]
    assert kl_divergence(student, teacher).item() == pytest.approx(sum(by_sample) / 7, rel=1e-12)
    mean_of_everything = F.kl_div(student, teacher.exp(), reduction="none").mean()
    assert kl_divergence(student, teacher).item() == pytest.approx(11 * mean_of_everything.item(), rel=1e-12)


def test_the_divergence_is_from_the_teacher_to_the_student():
    """A teacher of (1/2, 1/2) against a student of (3/4, 1/4): log(2/√3) nats; swapped, 3/4·log 3 - log 2."""
    student, teacher = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)
    assert softened_kl(student, teacher, 1.0).item() == pytest.approx(math.log(2 / math.sqrt(3)), rel=1e-6)
    assert softened_kl(teacher, student, 1.0).item() == pytest.approx(0.75 * math.log(3) - math.log(2), rel=1e-6)


def test_a_class_the_student_rules_out_costs_its_logit_and_not_infinity():
    """log(softmax) in place of log_softmax gives log 0."""
    student = torch.tensor([[0.0, 200.0]], requires_grad=True)
    teacher = torch.tensor([[200.0, 0.0]])
    loss = softened_kl(student, teacher, 1.0)
    assert torch.isinf(student.softmax(1).log()).any()
    assert loss.item() == 200.0
    loss.backward()
    torch.testing.assert_close(student.grad, torch.tensor([[-1.0, 1.0]]))


def test_a_divergence_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"differ in shape: \(1, 4\) of the student, \(2, 4\) of the teacher"):
        softened_kl(torch.zeros(1, 4), torch.zeros(2, 4), 1.0)


@settings(deadline=None)
@given(logits(50.0), st.sampled_from(TEMPERATURES))
def test_softened_kl_is_never_negative_and_zero_for_the_teacher_itself(pair, temperature):
    student, teacher = pair
    assert softened_kl(teacher, teacher, temperature).item() == 0
    assert softened_kl(student, teacher, temperature).item() >= -1e-5 * temperature**2


RAW = [(FOUR, "wrong", "0.1749"), (FOUR, "right", "0.3457"), (TEN, "wrong", "0.7192"), (TEN, "right", "1.2317")]


@pytest.mark.parametrize(("toy", "student", "printed"), RAW)
def test_the_raw_divergence_has_the_published_toy_value(toy, student, printed):
    assert f"{softened_kl(row(toy[student]), row(toy['teacher']), 1.0).item():.4f}" == printed
