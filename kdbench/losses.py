"""Distillation losses as pure functions of tensors, for use in any training loop. They need the extra `train`.

Logits are (B, C), labels are classes (B,), features are (B, …). A loss is a scalar, averaged over the batch, in float32
even under autocast. Gradients flow into every argument that requires them: compute the teacher's outputs under
`torch.no_grad()`. Wrong shapes raise InputError. The losses are not weighted: multiply them by weights of your own.
"""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import ParamSpec

from kdbench import extras
from kdbench.errors import InputError, is_out_of_memory

extras.require("train", "kdbench.losses")

from torch import Tensor  # noqa: E402 - after the check

from kdbench.distill.losses import features, logits, outputs  # noqa: E402

__all__ = [
    "attention",
    "cross_entropy",
    "dkd",
    "hint",
    "kd",
    "mean_squared_error",
    "multi_teacher",
    "mutual",
    "rkd_angle",
    "rkd_distance",
]

P = ParamSpec("P")


def _checked(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Let a loss raise InputError for wrong shapes and temperatures, and for arguments that are not tensors."""

    @wraps(loss)
    def call(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        try:
            return loss(*args, **kwargs)
        except (ValueError, RuntimeError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            form = "logits are (B, C), labels (B,), features (B, …), of the student and the teacher alike"
            raise InputError(f"kdbench.losses.{loss.__name__}: {error}", form) from error
        except (AttributeError, TypeError) as error:
            signature(loss).bind(*args, **kwargs)  # a missing argument stays Python's own TypeError
            hint = "give it tensors: torch.as_tensor converts arrays and lists"
            raise InputError(f"kdbench.losses.{loss.__name__}: {error}", hint) from error

    return call


def _positive(temperature: float) -> float:
    if not 0 < temperature < math.inf:
        raise ValueError(f"the temperature is {temperature}, and must be above 0 and finite")
    return temperature


@_checked
def kd(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0, *, standardize: bool = False
) -> Tensor:
    """Return T² · KL(p_t^T ‖ p_s^T) with p^T = softmax(z / T): Hinton, Vinyals and Dean 2015, section 2.

        >>> import torch
        >>> teacher = torch.tensor([[2.0, 0.0]])
        >>> round(kdbench.losses.kd(torch.zeros(1, 2), teacher, temperature=2.0).item(), 4)
        0.4438

    The factor T² keeps the gradient's size independent of the temperature. With `standardize` both logits are
    standardized first (Sun et al. 2024).
    """
    if standardize:
        student_logits, teacher_logits = (logits.standardize(z, "unbiased") for z in (student_logits, teacher_logits))
    return logits.softened_kl(student_logits, teacher_logits, _positive(temperature))


@_checked
def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float = 4.0,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """Return T² · (alpha · TCKD + beta · NCKD): Zhao et al. 2022, "Decoupled Knowledge Distillation", eq. 7.

    >>> import torch
    >>> same = torch.tensor([[2.0, 0.0, 1.0]])
    >>> kdbench.losses.dkd(same, same, torch.tensor([0])).item()
    0.0
    """
    return logits.dkd(student_logits, teacher_logits, labels, _positive(temperature), alpha=alpha, beta=beta)


@_checked
def multi_teacher(student_logits: Tensor, teacher_logits: Sequence[Tensor], temperature: float = 4.0) -> Tensor:
    """Return the mean over the teachers of T² · KL(p_t^T ‖ p_s^T).

    >>> import torch
    >>> student, teachers = torch.zeros(1, 2), [torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2)]
    >>> round(kdbench.losses.multi_teacher(student, teachers, temperature=2.0).item(), 4)
    0.2219
    """
    return logits.mean_kl(student_logits, teacher_logits, _positive(temperature))


@_checked
def mutual(own_logits: Tensor, peer_logits: Sequence[Tensor], temperature: float = 1.0) -> Tensor:
    """Return the mean over the peers of T² · KL(p_peer^T ‖ p_own^T); no gradient reaches a peer (Zhang et al. 2018).

    >>> import torch
    >>> kdbench.losses.mutual(torch.zeros(1, 2), [torch.zeros(1, 2)]).item()
    0.0
    """
    return logits.mutual_kl(own_logits, peer_logits, _positive(temperature))


@_checked
def hint(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return the mean squared difference of features of one shape (FitNets, Romero et al. 2015, eq. 3).

    >>> import torch
    >>> kdbench.losses.hint(torch.zeros(1, 4), torch.full((1, 4), 2.0)).item()
    4.0
    """
    return features.feature_mse(student_features, teacher_features)


@_checked
def attention(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """Return Σ_l mean((Q_s - Q_t)²) of the attention maps Q of feature maps (B, C, H, W), layer by layer.

        >>> import torch
        >>> maps = [torch.rand(2, 3, 4, 4)]
        >>> kdbench.losses.attention(maps, maps).item()
        0.0

    Q is the channels' mean of f², divided by its L2 norm (Zagoruyko and Komodakis 2017). If two maps differ in size,
    the larger is pooled to the size of the smaller; channels may differ.
    """
    return features.attention_loss(student_maps, teacher_maps)


@_checked
def rkd_distance(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return the smooth L1 difference of pairwise distances, in units of their mean (RKD-D, Park et al. 2019).

    >>> import torch
    >>> one = torch.tensor([[0.0], [1.0], [3.0]])
    >>> round(kdbench.losses.rkd_distance(one, 2 * one).item(), 6)
    0.0
    """
    return features.rkd_distance(student_features, teacher_features)


@_checked
def rkd_angle(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return the smooth L1 difference of the cosines of all angles between three samples (RKD-A, Park et al. 2019).

    >>> import torch
    >>> one = torch.rand(4, 3)
    >>> round(kdbench.losses.rkd_angle(one, one + 1).item(), 6)
    0.0
    """
    return features.rkd_angle(student_features, teacher_features)


@_checked
def mean_squared_error(outputs_of_student: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of (output - target)², of outputs and targets (B, D); torch would broadcast (B, 1) and (B,).

    >>> import torch
    >>> kdbench.losses.mean_squared_error(torch.zeros(2, 1), torch.ones(2, 1)).item()
    1.0
    """
    return outputs.mean_squared_error(outputs_of_student, targets)


@_checked
def cross_entropy(student_logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy with labels (B,), or with probabilities (B, C), as mixup makes them.

    >>> import torch
    >>> round(kdbench.losses.cross_entropy(torch.zeros(1, 2), torch.tensor([1])).item(), 4)
    0.6931
    """
    return logits.cross_entropy(student_logits, labels, label_smoothing)
