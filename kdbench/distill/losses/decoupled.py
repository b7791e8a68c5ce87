"""Decoupled knowledge distillation, DKD (Zhao et al. 2022, "Decoupled Knowledge Distillation").

KL(p_t ‖ p_s) = TCKD + (1 - p_t[y]) · NCKD for each sample: a confident teacher suppresses the second term.
DKD weighs the two parts freely (eq. 7). Both are computed in log space from the C - 1 other classes themselves, which
stays exact where p[y] rounds to 1 or to 0.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor

from kdbench.distill.losses import wide
from kdbench.distill.losses.logits import kl_divergence


def tckd(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return T² · KL of the binary distributions (p[y], 1 - p[y]), p = softmax(z / T): the target class's part.

    Logits are (B, C), labels classes (B,); raises ValueError for labels that are probabilities.
    """
    student = _target_or_not(wide(student_logits) / temperature, labels)
    teacher = _target_or_not(wide(teacher_logits) / temperature, labels)
    return kl_divergence(student, teacher) * temperature**2


def nckd(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return T² · KL of the distributions over the C - 1 other classes: the non-target classes' part.

    Logits are (B, C), labels classes (B,); raises ValueError for labels that are probabilities.
    """
    student = F.log_softmax(_others(wide(student_logits) / temperature, labels), dim=1)
    teacher = F.log_softmax(_others(wide(teacher_logits) / temperature, labels), dim=1)
    return kl_divergence(student, teacher) * temperature**2


def dkd(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, *, alpha: float, beta: float
) -> Tensor:
    """Return T² · (alpha · TCKD + beta · NCKD), eq. 7. Inputs and errors are those of the parts."""
    target = tckd(student_logits, teacher_logits, labels, temperature)
    return alpha * target + beta * nckd(student_logits, teacher_logits, labels, temperature)


def warm_up(epoch: int, epochs: int = 20) -> float:
    """Return min(epoch / epochs, 1), the authors' factor on DKD; they count epochs from 1. No warm-up: `epochs` 0."""
    return min(epoch / epochs, 1.0) if epochs else 1.0


def _target_or_not(logits: Tensor, labels: Tensor) -> Tensor:
    """Return (log p[y], log(1 - p[y])), (B, 2): p[y] is a sigmoid of the target's lead over all others at once."""
    others = _others(logits, labels).logsumexp(dim=1, keepdim=True)
    lead = logits.gather(1, labels.unsqueeze(1)) - others
    return F.logsigmoid(torch.cat([lead, -lead], dim=1))


def _others(values: Tensor, labels: Tensor) -> Tensor:
    """Return each row of `values` (B, C) without the column of its label, shape (B, C - 1).

    By indices, not by a mask: the result's shape is known without waiting for the device.
    """
    if labels.dim() != 1:
        raise ValueError("DKD needs one target class per sample, but the labels are probabilities")
    columns = torch.arange(values.shape[1] - 1, device=values.device)
    return values.gather(1, columns + (columns >= labels.unsqueeze(1)))
