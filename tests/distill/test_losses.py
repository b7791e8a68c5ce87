import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from kdbench.distill.losses import cross_entropy, feature_mse, softened_kl

FOUR = {"teacher": [1, 4, 3, 2], "wrong": [1, 2.8, 3, 2], "right": [0.1, 0.4, 0.3, 0.2]}
TEN = {
    "teacher": [1, 4, 0.5, 1.5, 7, 2, 2.5, 3, 3.5, 4.5],
    "wrong": [1.1, 4.2, 0.6, 1.6, 6.8, 2.1, 2.6, 3.1, 3.6, 7.5],
    "right": [0.1, 0.4, 0.05, 0.15, 0.7, 0.2, 0.25, 0.3, 0.35, 0.45],
}


@pytest.mark.parametrize(
    ("logits", "student", "expected"),
    [(FOUR, "wrong", 0.1749), (FOUR, "right", 0.3457), (TEN, "wrong", 0.7192), (TEN, "right", 1.2317)],
)
def test_softened_kl_gives_the_published_toy_values(logits, student, expected):
    """Ahad, "Knowledge Distillation Techniques", section 2.1: KL in nats at temperature 1."""
    found = softened_kl(torch.tensor([logits[student]]), torch.tensor([logits["teacher"]], dtype=torch.float), 1.0)
    assert found.item() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_softened_kl_is_t_squared_times_the_divergence_torch_computes(temperature):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 7, 11, dtype=torch.float64)
    independent = kl_divergence(Categorical(logits=teacher / temperature), Categorical(logits=student / temperature))
    expected = temperature**2 * independent.mean()  # mean over the batch, not over batch times classes
    assert softened_kl(student, teacher, temperature).item() == pytest.approx(expected.item(), rel=1e-9)


def test_softened_kl_has_the_gradient_of_the_derivation():
    """d KL^T / d z_i = (p_s - p_t) / T for one sample; the loss carries T²."""
    torch.manual_seed(1)
    temperature = 3.0
    teacher = torch.randn(1, 6)
    student = torch.randn(1, 6, requires_grad=True)
    softened_kl(student, teacher, temperature).backward()
    difference = (student.detach() / temperature).softmax(1) - (teacher / temperature).softmax(1)
    torch.testing.assert_close(student.grad, temperature * difference)


def test_softened_kl_is_not_symmetric():
    teacher, student = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    assert softened_kl(student, teacher, 1.0).item() != pytest.approx(softened_kl(teacher, student, 1.0).item())


def test_softened_kl_stays_finite_for_sure_teachers():
    sure = torch.tensor([[1000.0, -1000.0]])
    assert torch.isfinite(softened_kl(-sure, sure, 1.0))


def test_feature_mse_refuses_to_broadcast():
    with pytest.raises(ValueError, match="differ in shape"):
        feature_mse(torch.zeros(2, 4, 1, 1), torch.zeros(2, 4, 3, 3))


@pytest.mark.parametrize("distance", [0.05, 0.3, 1.0])
def test_losses_of_bfloat16_logits_are_those_of_the_same_logits_in_float32(distance):
    """CPU autocast leaves log_softmax in bfloat16, which made the divergence of a good student negative."""
    torch.manual_seed(0)
    teacher = torch.randn(128, 100).bfloat16()
    student = (teacher + distance * torch.randn(128, 100)).bfloat16()
    labels = torch.arange(100).repeat(2)[:128]
    with torch.autocast("cpu", torch.bfloat16):
        divergence, loss = softened_kl(student, teacher, 4.0), cross_entropy(student, labels)
        distance_of_features = feature_mse(student, teacher)
    torch.testing.assert_close(divergence, softened_kl(student.float(), teacher.float(), 4.0))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(student.float(), labels))
    torch.testing.assert_close(distance_of_features, ((student.float() - teacher.float()) ** 2).mean())
    assert divergence > 0
