"""Learning from several networks at once: an ensemble of teachers, or peers that learn at the same time."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor

from kdbench.distill.losses.inputs import wide
from kdbench.distill.losses.logits import softened_kl


def ensemble_logits(teacher_logits: Sequence[Tensor]) -> Tensor:
    """Return the log of the teachers' mean probability, logsumexp(log_softmax) - log n, from n logits (B, C).

    These are an ensemble's logits (Stanton et al. 2021, "Does Knowledge Distillation Really Work?"): softened, they
    are the mean softened and not the mean of the softened, which is what `mean_kl` teaches.
    """
    log_probs = F.log_softmax(wide(torch.stack(tuple(teacher_logits))), dim=2)
    return log_probs.logsumexp(dim=0) - math.log(len(teacher_logits))


def mean_kl(student_logits: Tensor, teacher_logits: Sequence[Tensor], temperature: float) -> Tensor:
    """Return the mean over n teachers of T² · KL(p_t^T ‖ p_s^T), from logits (B, C).

    Its gradient is that of one teacher whose softened probabilities are the mean of theirs.
    """
    return torch.stack([softened_kl(student_logits, teacher, temperature) for teacher in teacher_logits]).mean()


def mutual_kl(logits: Tensor, peer_logits: Sequence[Tensor], temperature: float = 1.0) -> Tensor:
    """Return the mean over the peers of T² · KL(p_peer^T ‖ p_self^T), from logits (B, C); no gradient reaches a peer.

    Deep mutual learning (Zhang et al. 2018, "Deep Mutual Learning"), which has T = 1.
    """
    return mean_kl(logits, [peer.detach() for peer in peer_logits], temperature)
