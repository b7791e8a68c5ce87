"""Losses on logits: cross-entropy with the labels, divergence from the teacher's softened probabilities."""

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor

from kdbench.distill.losses.inputs import require_same_shape, wide


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the batch mean of -Σ_c q_c · log softmax(logits)_c, labels q smoothed towards the uniform distribution.

    `labels` are classes (B,) or probabilities (B, C), as mixup makes them.
    """
    logits = wide(logits)
    labels = labels if labels.dim() == 1 else labels.to(logits.dtype)
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


def kl_divergence(student_log_probs: Tensor, teacher_log_probs: Tensor) -> Tensor:
    """Return KL(p_t ‖ p_s) in nats of log probabilities (B, C): summed over classes, averaged over the batch.

    Raises ValueError where the shapes differ.
    """
    require_same_shape(student_log_probs, teacher_log_probs, "log probabilities")
    return F.kl_div(student_log_probs, teacher_log_probs, reduction="batchmean", log_target=True)


def softened_kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return T² · KL(p_t^T ‖ p_s^T) with p^T = softmax(z / T).

    The factor T² keeps the gradient's size independent of the temperature (Hinton, Vinyals, Dean 2015, section 2).
    Raises ValueError where the shapes differ.
    """
    student = F.log_softmax(wide(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(wide(teacher_logits) / temperature, dim=1)
    return kl_divergence(student, teacher) * temperature**2


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many of the batch have their label ranked first, as a tensor, so that nothing waits for it.

    Of probabilities (B, C) as labels, the most probable class counts, the first of equals.
    """
    classes = labels if labels.dim() == 1 else labels.argmax(dim=1)
    return torch.sum(logits.argmax(dim=1) == classes)
