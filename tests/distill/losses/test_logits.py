"""Losses on logits, among them regression tests of faults found in well-known code."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax, rel_entr, softmax
from torch.distributions import Categorical
from torch.distributions import kl_divergence as categorical_kl

from kdbench.distill.losses import correct, cross_entropy, kl_divergence, softened_kl

TEMPERATURES = (0.5, 1.0, 4.0, 20.0)


def logits(bound):
    """Two batches of three samples and five classes."""
    numbers = st.floats(-bound, bound, width=32)
    return arrays.arrays(np.float32, (2, 3, 5), elements=numbers).map(torch.from_numpy)


def random_logits(seed=0, shape=(7, 11)):
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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
    found = softened_kl(student, teacher, 1e4).item()
    assert found == pytest.approx(((student - teacher) ** 2).sum().item() / (2 * 11 * 7), rel=1e-3)
    assert found > 10 * F.mse_loss(student.softmax(1), teacher.softmax(1)).item()


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
    by_sample = [categorical_kl(Categorical(logits=wanted), Categorical(logits=own)).item() for own, wanted in pairs]
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
