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

from kdbench.distill.losses.logits import (
    correct,
    cross_entropy,
    ensemble_logits,
    kl_divergence,
    mean_kl,
    mutual_kl,
    softened_kl,
    standardize,
)

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


# Ahad, "Knowledge Distillation Techniques", task 2: KL in nats at temperature 1, population std. The wrong student
# ranks another class first but lies near the teacher; the right one has a tenth of the teacher's logits.
FOUR = {"teacher": [1, 4, 3, 2], "wrong": [1, 2.8, 3, 2], "right": [0.1, 0.4, 0.3, 0.2]}
TEN = {
    "teacher": [1, 4, 0.5, 1.5, 7, 2, 2.5, 3, 3.5, 4.5],
    "wrong": [1.1, 4.2, 0.6, 1.6, 6.8, 2.1, 2.6, 3.1, 3.6, 7.5],
    "right": [0.1, 0.4, 0.05, 0.15, 0.7, 0.2, 0.25, 0.3, 0.35, 0.45],
}
RAW = [(FOUR, "wrong", "0.1749"), (FOUR, "right", "0.3457"), (TEN, "wrong", "0.7192"), (TEN, "right", "1.2317")]
STANDARDIZED = [
    (FOUR, "wrong", "0.1347"),
    (FOUR, "right", "0.0000"),
    (TEN, "wrong", "0.1923"),
    (TEN, "right", "0.0000"),
]


def row(values):
    return torch.tensor([values], dtype=torch.float32)


@pytest.mark.parametrize(("toy", "student", "printed"), RAW)
def test_the_raw_divergence_has_the_published_toy_value(toy, student, printed):
    assert f"{softened_kl(row(toy[student]), row(toy['teacher']), 1.0).item():.4f}" == printed


@pytest.mark.parametrize(("toy", "student", "printed"), STANDARDIZED)
def test_the_standardized_divergence_has_the_published_toy_value(toy, student, printed):
    pair = [standardize(row(toy[name]), "population") for name in (student, "teacher")]
    assert f"{softened_kl(*pair, 1.0).item():z.4f}" == printed


@pytest.mark.parametrize(("std", "ddof"), [("population", 0), ("unbiased", 1)])
def test_rows_are_standardized_as_numpy_does(std, ddof):
    logits = 5 + 3 * np.random.default_rng(0).normal(size=(6, 10))
    expected = np.stack([(sample - np.average(sample)) / (1e-7 + np.std(sample, ddof=ddof)) for sample in logits])
    np.testing.assert_allclose(standardize(torch.tensor(logits), std), expected, rtol=1e-9, atol=1e-12)


@settings(deadline=None)
@given(st.floats(0.1, 50), st.floats(-20, 20))
def test_location_and_scale_of_the_logits_do_not_matter(scale, shift):
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = standardize(scale * logits + shift, "unbiased")
    torch.testing.assert_close(moved, standardize(logits, "unbiased"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("std", ["population", "unbiased"])
def test_a_row_of_equal_logits_becomes_zeros_with_finite_gradients(std):
    logits = torch.full((2, 5), 3.0, requires_grad=True)
    result = standardize(logits, std)
    assert torch.equal(result, torch.zeros(2, 5))
    softened_kl(result, torch.eye(5)[:2], 2.0).backward()
    assert torch.isfinite(logits.grad).all()


def test_bfloat16_logits_are_standardized_in_float32():
    logits = torch.randn(4, 100, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = standardize(logits, "unbiased")
    torch.testing.assert_close(result, standardize(logits.float(), "unbiased"), rtol=0, atol=0)


def networks(count=3, batch=4, classes=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return list(2 * torch.randn(count, batch, classes, generator=generator, dtype=torch.float64))


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
