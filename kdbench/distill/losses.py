"""Distillation losses as pure functions. Shapes: logits (B, C), labels (B,), features (B, …). Results are scalars.

Every divergence is KL(teacher ‖ student) in nats, summed over classes, averaged over the batch. Losses are computed in
float32 whatever the networks computed in: on a CPU, autocast leaves log_softmax in bfloat16, whose rounding is as large
as the divergence between a good student and its teacher.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the batch mean of -log softmax(logits)[label], labels smoothed towards the uniform distribution."""
    return F.cross_entropy(_wide(logits), labels, label_smoothing=label_smoothing)


def softened_kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return T² · KL(p_t^T ‖ p_s^T) with p^T = softmax(z / T).

    The factor T² keeps the gradient's size independent of the temperature (Hinton, Vinyals, Dean 2015, section 2).
    """
    student = F.log_softmax(_wide(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(_wide(teacher_logits) / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def feature_mse(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return the mean squared difference of two feature maps of one shape (FitNets, Romero et al. 2015, eq. 3)."""
    if student_features.shape != teacher_features.shape:
        # mse_loss would broadcast, with a warning, and train on nonsense.
        raise ValueError(f"features differ in shape: {tuple(student_features.shape)}, {tuple(teacher_features.shape)}")
    return F.mse_loss(_wide(student_features), _wide(teacher_features))


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many of the batch have their label ranked first, as a tensor, so that nothing waits for it."""
    return torch.sum(logits.argmax(dim=1) == labels)


def _wide(values: Tensor) -> Tensor:
    """Return `values` in float32, or wider where they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
