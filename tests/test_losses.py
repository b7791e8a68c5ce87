"""The losses of the Python API: their own formulas are tested in tests/distill/losses; here, what the API adds."""

import pytest
import torch
from torch.nn import functional

import kdbench
from kdbench.errors import InputError

STUDENT, TEACHER = (
    torch.randn(5, 7, generator=torch.Generator().manual_seed(0)),
    torch.randn(5, 7, generator=torch.Generator().manual_seed(1)),
)
LABELS = torch.tensor([0, 1, 2, 3, 4])


def test_kd_is_the_softened_divergence_of_the_teacher_from_the_student():
    p, q = (functional.softmax(logits / 4, dim=1) for logits in (TEACHER, STUDENT))
    expected = 16 * (p * (p / q).log()).sum(dim=1).mean()
    assert kdbench.losses.kd(STUDENT, TEACHER, temperature=4).item() == pytest.approx(expected.item())


def test_decoupled_with_the_weights_of_kd_is_kd():
    # KL = TCKD + (1 - p_t[y]) NCKD, for a batch of one
    target = functional.softmax(TEACHER[:1] / 4, dim=1)[0, 0].item()
    parts = kdbench.losses.dkd(STUDENT[:1], TEACHER[:1], LABELS[:1], 4.0, alpha=1.0, beta=1 - target)
    assert parts.item() == pytest.approx(kdbench.losses.kd(STUDENT[:1], TEACHER[:1], 4.0).item(), rel=1e-4)


def test_the_students_gradient_is_that_of_the_derivation():
    # Hinton, Vinyals, Dean 2015, eq. 2, times T² and averaged over the batch: T (q - p) / B
    student = STUDENT.clone().requires_grad_()
    kdbench.losses.kd(student, TEACHER, temperature=4).backward()
    p, q = (functional.softmax(logits / 4, dim=1) for logits in (TEACHER, STUDENT))
    torch.testing.assert_close(student.grad, 4 * (q - p) / len(STUDENT))


@pytest.mark.parametrize(
    "call",
    [
        lambda: kdbench.losses.kd(STUDENT, TEACHER[:, :5]),
        lambda: kdbench.losses.kd(STUDENT, TEACHER, temperature=0),
        lambda: kdbench.losses.kd(STUDENT, TEACHER, temperature=float("nan")),
        lambda: kdbench.losses.kd(STUDENT, TEACHER, temperature=float("inf")),
        lambda: kdbench.losses.dkd(STUDENT, TEACHER, functional.softmax(TEACHER, dim=1)),
        lambda: kdbench.losses.dkd(STUDENT, TEACHER, LABELS[:1]),
        lambda: kdbench.losses.hint(torch.zeros(2, 3), torch.zeros(2, 4)),
        lambda: kdbench.losses.attention([torch.zeros(1, 2, 3, 3)], []),
        lambda: kdbench.losses.mean_squared_error(torch.zeros(3, 1), torch.zeros(3)),
        lambda: kdbench.losses.cross_entropy(STUDENT, LABELS[:3]),
        lambda: kdbench.losses.kd(STUDENT.numpy(), TEACHER.numpy()),
        lambda: kdbench.losses.cross_entropy(STUDENT, LABELS.tolist()),
    ],
)
def test_shapes_and_types_that_do_not_fit_are_the_users_error(call):
    with pytest.raises(InputError, match=r"kdbench\.losses\.\w+: ") as error:
        call()
    assert error.value.hint


def test_features_of_too_many_samples_for_the_memory_are_no_wrong_shape():
    samples = torch.zeros(10_000_000, 1)  # the differences of all pairs alone take 400 TB
    with pytest.raises(RuntimeError, match="memory"):
        kdbench.losses.rkd_angle(samples, samples)
