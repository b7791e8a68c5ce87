"""Losses on logits: cross-entropy with the labels, divergence from the softened probabilities of teachers or peers.

Decoupled distillation, DKD, is by Zhao et al. 2022, "Decoupled Knowledge Distillation". For each sample
KL(p_t ‖ p_s) = TCKD + (1 - p_t[y]) · NCKD: a confident teacher suppresses the second term. DKD weighs the two parts
freely (eq. 7). Both are computed in log space from the C - 1 other classes themselves, which stays exact where p[y]
rounds to 1 or to 0.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor

from kdbench.distill.losses import require_same_shape, upcast


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float, class_weights: Tensor, mean_weight: Tensor | None
) -> Tensor:
    """Return the mean of -Σ_c w_c · q_c · log softmax(logits)_c, as torch's `cross_entropy` with `weight` (C,).

    For classes (B,) the mean is weighted: it is divided by `mean_weight`, the mean weight of the labels of an update,
    of which the batch may be a part; None takes the batch's own labels. For probabilities (B, C) it is divided by the
    number of samples, as in torch.
    """
    logits = upcast(logits)
    weights = class_weights.to(logits.dtype)
    labels = labels if labels.dim() == 1 else labels.to(logits.dtype)
    losses = F.cross_entropy(logits, labels, weights, reduction="none", label_smoothing=label_smoothing)
    if labels.dim() > 1:
        return losses.mean()
    return losses.mean() / (weights[labels].mean() if mean_weight is None else mean_weight.to(logits.dtype))


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the batch mean of -Σ_c q_c · log softmax(logits)_c, labels q smoothed towards the uniform distribution.

    `labels` are classes (B,) or probabilities (B, C), as mixup makes them.
    """
    logits = upcast(logits)
    labels = labels if labels.dim() == 1 else labels.to(logits.dtype)
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


def kl_divergence(student_log_probs: Tensor, teacher_log_probs: Tensor) -> Tensor:
    """Return KL(p_t ‖ p_s) in nats of log probabilities (B, C): summed over classes, averaged over the batch.

    A class of the teacher's probability 0, whose log is -inf, adds nothing. Raises ValueError where the shapes differ.
    """
    require_same_shape(student_log_probs, teacher_log_probs, "log probabilities")
    # torch multiplies by the probability: 0 times a finite number is 0.
    teacher_log_probs = teacher_log_probs.clamp_min(torch.finfo(teacher_log_probs.dtype).min)
    return F.kl_div(student_log_probs, teacher_log_probs, reduction="batchmean", log_target=True)


def softened_kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return T² · KL(p_t^T ‖ p_s^T) with p^T = softmax(z / T).

    The factor T² keeps the gradient's size independent of the temperature (Hinton, Vinyals, Dean 2015, section 2).
    Raises ValueError where the shapes differ.
    """
    student = F.log_softmax(upcast(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(upcast(teacher_logits) / temperature, dim=1)
    return kl_divergence(student, teacher) * temperature**2


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the number of correct predictions in a batch, as a tensor, so that nothing waits for the device.

    If labels are probabilities (B, C), the most probable class is the label, the first if several are equal.
    """
    classes = labels if labels.dim() == 1 else labels.argmax(dim=1)
    return torch.sum(logits.argmax(dim=1) == classes)


Std = Literal["unbiased", "population"]
"""The standard deviation of a sample, divided by C - 1 (the authors' code), or of the population, divided by C."""


def standardize(logits: Tensor, std: Std) -> Tensor:
    """Return (z - mean) / (1e-7 + standard deviation) of each row of logits (B, C).

    Sun et al. 2024, "Logit Standardization in Knowledge Distillation", algorithm 1.
    Applied to both networks, so that the student need match neither the location nor the scale of the teacher's
    logits. A row of equal logits becomes zeros.
    """
    logits = upcast(logits)
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (1e-7 + logits.std(dim=1, correction=1 if std == "unbiased" else 0, keepdim=True))


def ensemble_logits(teacher_logits: Sequence[Tensor]) -> Tensor:
    """Return the log of the teachers' mean probability, logsumexp(log_softmax) - log n, from n logits (B, C).

    These are an ensemble's logits (Stanton et al. 2021, "Does Knowledge Distillation Really Work?"). Softening them
    softens the mean probability, whereas `mean_kl` averages the softened probabilities.
    """
    log_probs = F.log_softmax(upcast(torch.stack(tuple(teacher_logits))), dim=2)
    return log_probs.logsumexp(dim=0) - math.log(len(teacher_logits))


def mean_kl(student_logits: Tensor, teacher_logits: Sequence[Tensor], temperature: float) -> Tensor:
    """Return the mean over n teachers of T² · KL(p_t^T ‖ p_s^T), from logits (B, C).

    Its gradient equals that of one teacher with the mean of their softened probabilities.
    """
    return torch.stack([softened_kl(student_logits, teacher, temperature) for teacher in teacher_logits]).mean()


def mutual_kl(logits: Tensor, peer_logits: Sequence[Tensor], temperature: float = 1.0) -> Tensor:
    """Return the mean over the peers of T² · KL(p_peer^T ‖ p_self^T), from logits (B, C); no gradient reaches a peer.

    Deep mutual learning (Zhang et al. 2018, "Deep Mutual Learning"), which has T = 1.
    """
    return mean_kl(logits, [peer.detach() for peer in peer_logits], temperature)


def tckd(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return T² · KL of the binary distributions (p[y], 1 - p[y]), p = softmax(z / T): the target class's part.

    Logits are (B, C), labels classes (B,); raises ValueError for labels that are probabilities, or fewer
    than two classes.
    """
    both = (_binary_log_probs(upcast(logits) / temperature, labels) for logits in (student_logits, teacher_logits))
    return kl_divergence(*both) * temperature**2


def nckd(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return T² · KL of the distributions over the C - 1 other classes: the non-target classes' part.

    Logits are (B, C), labels classes (B,); raises ValueError for labels that are probabilities, or fewer
    than two classes.
    """
    both = (_without_target(upcast(logits) / temperature, labels) for logits in (student_logits, teacher_logits))
    return kl_divergence(*(F.log_softmax(others, dim=1) for others in both)) * temperature**2


def dkd(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, *, alpha: float, beta: float
) -> Tensor:
    """Return T² · (alpha · TCKD + beta · NCKD), eq. 7. Inputs and errors are those of the parts."""
    target = tckd(student_logits, teacher_logits, labels, temperature)
    return alpha * target + beta * nckd(student_logits, teacher_logits, labels, temperature)


def warm_up(epoch: int, epochs: int = 20) -> float:
    """Return min(epoch / epochs, 1), the authors' factor on DKD; epochs count from 1. `epochs` 0: no warm-up."""
    return min(epoch / epochs, 1.0) if epochs else 1.0


def _binary_log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    """Return (log p[y], log(1 - p[y])), (B, 2): p[y] is a sigmoid of the target's lead over all others at once."""
    others = _without_target(logits, labels).logsumexp(dim=1, keepdim=True)
    lead = logits.gather(1, labels.unsqueeze(1)) - others
    return F.logsigmoid(torch.cat([lead, -lead], dim=1))


def _without_target(values: Tensor, labels: Tensor) -> Tensor:
    """Return each row of `values` (B, C) without the column of its label, shape (B, C - 1).

    By indices, not by a mask: the result's shape is known without waiting for the device.
    """
    if labels.dim() != 1:
        raise ValueError("DKD needs one target class per sample, but the labels are probabilities")
    if len(labels) != len(values):  # `gather` would leave the other samples out
        raise ValueError(f"there are {len(labels)} labels for {len(values)} samples")
    if values.shape[1] < 2:
        raise ValueError(f"DKD needs two classes or more, but the logits have shape {tuple(values.shape)}")
    columns = torch.arange(values.shape[1] - 1, device=values.device)
    return values.gather(1, columns + (columns >= labels.unsqueeze(1)))
