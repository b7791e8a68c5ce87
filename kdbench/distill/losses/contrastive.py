"""Contrastive representation distillation (Tian, Krishnan, Isola 2020, "Contrastive Representation Distillation").

The loss only; the method holds the memory: a bank with a moving average of the network's embedding of each training
sample. The student's embedding of a sample is distinguished from the teacher's embeddings of n others, and vice versa.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor

from kdbench.distill.losses import upcast, without_autocast


def contrast_scores(anchors: Tensor, bank: Tensor, samples: Tensor) -> Tensor:
    """Return the inner products of `anchors` (B, D) with the rows `samples` (B, 1 + n) of `bank` (n_data, D).

    The first column of `samples` is the anchor's own index, the positive. Shape (B, 1 + n). Computes all
    products and picks from them: gathering (B, 1 + n, D) rows first took ten times as long (B 64, n 16 384, D 128,
    50 000 samples, two cores).
    """
    with without_autocast(anchors):
        return (upcast(anchors) @ upcast(bank).T).gather(1, samples)


def contrast_log_partition(scores: Tensor, *, temperature: float, n_data: int) -> Tensor:
    """Return log Z with Z = n_data · mean(exp(scores / τ)), a scalar without gradient.

    The authors' code estimates Z from the first batch and keeps it, which makes exp(scores / τ) / Z a probability over
    the data; the paper has Z = 1, so log Z = 0.
    """
    scaled = upcast(scores.detach()) / temperature
    return math.log(n_data) - math.log(scaled.numel()) + scaled.flatten().logsumexp(dim=0)


def contrastive_loss(scores: Tensor, *, temperature: float, n_data: int, log_partition: Tensor | float) -> Tensor:
    """Return -log h(positive) - Σ log(1 - h(negative)), averaged over the batch (eq. 18), for one side's anchors.

    `scores` (B, 1 + n) has the positive first. h = p / (p + n / n_data) with p = exp(score / τ) / Z is the probability
    that a pair is a positive one among n negatives drawn uniformly; in log space a sigmoid of log p - log(n / n_data).
    """
    negatives = scores.shape[1] - 1
    log_odds = upcast(scores) / temperature - log_partition - math.log(negatives / n_data)
    return -(F.logsigmoid(log_odds[:, 0]) + F.logsigmoid(-log_odds[:, 1:]).sum(dim=1)).mean()


def momentum_update(rows: Tensor, embeddings: Tensor, momentum: float) -> Tensor:
    """Return the rows (B, D) of a bank moved towards `embeddings` (B, D), on the unit sphere and without gradient.

    normalize(momentum · row + (1 - momentum) · embedding), in the rows' type.
    """
    with torch.no_grad():
        moved = momentum * upcast(rows) + (1 - momentum) * upcast(embeddings)
        return F.normalize(moved, dim=1).to(rows.dtype)
