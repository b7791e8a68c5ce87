"""Losses on feature maps: hints and attention."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor

from kdbench.distill.losses.inputs import require_same_shape, wide


def feature_mse(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return the mean squared difference of two features of one shape (FitNets, Romero et al. 2015, eq. 3).

    Raises ValueError where the shapes differ.
    """
    require_same_shape(student_features, teacher_features, "features")
    return F.mse_loss(wide(student_features), wide(teacher_features))


def attention_map(features: Tensor) -> Tensor:
    """Return Q (B, H·W) of feature maps (B, C, H, W): the channels' mean of f², each row divided by its L2 norm.

    Zagoruyko & Komodakis 2017, "Paying More Attention to Attention", section 3.1. The row of a map of zeros is zero.
    """
    return F.normalize(wide(features).square().mean(dim=1).flatten(1), dim=1)


def attention_loss(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """Return Σ_l mean((Q_s - Q_t)²) over the layers l, the mean over the batch and H·W.

    As in the authors' code; the paper's eq. 2 has norms in place of means. Maps are (B, C, H, W), layer by layer;
    where the two of a layer differ in height or width, the larger is pooled to the smaller first. Raises ValueError
    where the networks differ in the number of layers.
    """
    layers = zip(student_maps, teacher_maps, strict=True)
    return torch.stack([_loss_of_layer(student, teacher) for student, teacher in layers]).sum()


def _loss_of_layer(student: Tensor, teacher: Tensor) -> Tensor:
    height, width = (min(sizes) for sizes in zip(student.shape[2:], teacher.shape[2:], strict=True))
    return feature_mse(
        attention_map(_pooled(student, (height, width))), attention_map(_pooled(teacher, (height, width)))
    )


def _pooled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if maps.shape[2:] == size else F.adaptive_avg_pool2d(wide(maps), size)
