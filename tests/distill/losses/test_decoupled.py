"""DKD against its definition on probabilities, its identity with KL, and the form of the authors' code."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from scipy.stats import entropy

from kdbench.distill.losses.logits import dkd, nckd, softened_kl, tckd, warm_up

TEMPERATURES = (1.0, 4.0)


def batch(seed=0, samples=6, classes=9, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = scale * torch.randn(2, samples, classes, generator=generator, dtype=torch.float64)
    return student, teacher, torch.randint(classes, (samples,), generator=generator)


def on_probabilities(student, teacher, labels, temperature):
    """Return TCKD and NCKD of float64 probabilities, sample by sample: Zhao et al. 2022, section 3.1."""
    target, others = [], []
    for student_row, teacher_row, label in zip(student.numpy(), teacher.numpy(), labels.tolist(), strict=True):
        p, q = softmax(teacher_row / temperature), softmax(student_row / temperature)
        target.append(rel_entr([p[label], 1 - p[label]], [q[label], 1 - q[label]]).sum())
        others.append(entropy(np.delete(p, label), np.delete(q, label)))  # scipy's entropy normalises both
    return temperature**2 * np.mean(target), temperature**2 * np.mean(others)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_both_parts_are_their_definition_on_probabilities(temperature):
    expected = on_probabilities(*batch(), temperature)
    assert tckd(*batch(), temperature).item() == pytest.approx(expected[0], rel=1e-9)
    assert nckd(*batch(), temperature).item() == pytest.approx(expected[1], rel=1e-9)
    result = dkd(*batch(), temperature, alpha=1.5, beta=8.0)
    assert result.item() == pytest.approx(1.5 * expected[0] + 8 * expected[1], rel=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_dkd_is_what_the_form_of_the_authors_code_gives(temperature):
    """The authors push the target's logit down by 1000 and take logarithms of probabilities."""
    student, teacher, labels = batch(1)
    mask = torch.nn.functional.one_hot(labels, 9).double()
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    binary = [torch.stack([(shares * mask).sum(1), (shares * (1 - mask)).sum(1)]) for shares in (p, q)]
    rest = [(logits / temperature - 1000 * mask).softmax(1) for logits in (teacher, student)]
    kl = [(a * (a / b.clamp_min(1e-300)).clamp_min(1e-300).log()).sum() / len(labels) for a, b in (binary, rest)]
    expected = temperature**2 * (1.0 * kl[0] + 8.0 * kl[1])
    torch.testing.assert_close(dkd(student, teacher, labels, temperature, alpha=1.0, beta=8.0), expected)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 12), st.sampled_from(TEMPERATURES))
def test_kl_is_tckd_plus_the_other_classes_probability_times_nckd(seed, classes, temperature):
    """Zhao et al. 2022, section 3.1: KL = TCKD + (1 - p_t[y]) · NCKD, sample by sample."""
    student, teacher, labels = batch(seed, samples=3, classes=classes)
    for student_row, teacher_row, label in zip(student.split(1), teacher.split(1), labels.split(1), strict=True):
        weight = 1 - (teacher_row / temperature).softmax(1)[0, label]
        parts = tckd(student_row, teacher_row, label, temperature) + weight * nckd(
            student_row, teacher_row, label, temperature
        )
        torch.testing.assert_close(
            parts, softened_kl(student_row, teacher_row, temperature).expand(1), rtol=1e-7, atol=1e-9
        )


def test_of_two_classes_the_target_class_is_everything():
    student, teacher, labels = batch(classes=2)
    assert nckd(student, teacher, labels, 4.0).item() == 0
    torch.testing.assert_close(tckd(student, teacher, labels, 4.0), softened_kl(student, teacher, 4.0))


def test_the_other_classes_part_does_not_see_the_target_classs_logit():
    student, teacher, labels = batch()
    moved = student.scatter(1, labels.unsqueeze(1), 77.0)
    assert torch.equal(nckd(moved, teacher, labels, 4.0), nckd(student, teacher, labels, 4.0))


def test_what_a_sure_teacher_and_a_sure_student_leave_to_the_others_stays_exact():
    """In float32 p[y] rounds to 1 beyond a margin of 17: 1 - p[y] would be 0 and its logarithm infinite.

    Three classes, margins m and n: p = 1 / (1 + 2e^-m), so TCKD tends to 2e^-m·(n - m - 1) + 2e^-n for large margins.
    """
    teacher, student = torch.tensor([[20.0, 0.0, 0.0]]), torch.tensor([[40.0, 0.0, 0.0]])
    assert torch.equal(teacher.softmax(1)[0, 0], torch.tensor(1.0))
    expected = 2 * math.exp(-20) * (40 - 20 - 1) + 2 * math.exp(-40)
    assert tckd(student, teacher, torch.tensor([0]), 1.0).item() == pytest.approx(expected, rel=1e-4)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1.0, 100.0, 10_000.0]), st.sampled_from(TEMPERATURES))
def test_loss_and_gradient_are_finite_for_large_logits(seed, scale, temperature):
    student, teacher, labels = batch(seed, scale=scale)
    student = student.float().requires_grad_()
    loss = dkd(student, teacher.float(), labels, temperature, alpha=1.0, beta=8.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss >= -1e-5 * scale
    assert torch.isfinite(student.grad).all()


def test_gradient_is_that_of_differences():
    student, teacher, labels = batch(samples=2, classes=4)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: dkd(z, teacher, labels, 4.0, alpha=1.0, beta=8.0), student)


def test_bfloat16_logits_count_as_float32():
    student, teacher, labels = batch()
    student, teacher = student.bfloat16(), teacher.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = dkd(student, teacher, labels, 4.0, alpha=1.0, beta=8.0)
    wide = dkd(student.float(), teacher.float(), labels, 4.0, alpha=1.0, beta=8.0)
    torch.testing.assert_close(result, wide, rtol=0, atol=0)


def test_labels_that_are_probabilities_are_refused():
    with pytest.raises(ValueError, match="one target class per sample"):
        dkd(torch.zeros(2, 3), torch.zeros(2, 3), torch.eye(3)[:2], 4.0, alpha=1.0, beta=8.0)


@pytest.mark.parametrize("loss", [tckd, nckd])
def test_one_class_is_refused(loss):
    with pytest.raises(ValueError, match=r"two classes or more, but the logits have shape \(3, 1\)"):
        loss(torch.zeros(3, 1), torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), 4.0)


@pytest.mark.parametrize(("epoch", "factor"), [(0, 0.0), (1, 0.05), (10, 0.5), (20, 1.0), (240, 1.0)])
def test_warm_up_rises_linearly_to_one(epoch, factor):
    assert warm_up(epoch) == factor
    assert warm_up(epoch, epochs=0) == 1.0
