"""Losses on features: hints, attention, and the relations between the samples of a batch.

Relational distillation, RKD, is by Park et al. 2019, "Relational Knowledge Distillation", section 3.2. The student
reproduces the relations between samples, not their positions: the widths of the two features may differ. Means are over
all pairs and triples, including degenerate ones, as in common implementations.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import Tensor

from kdbench.distill.losses import require_same_shape, upcast, without_autocast

# Samples nearer than this count as one: the direction between them is rounding, and its gradient grows as 1/distance.
_MIN_DISTANCE = 1e-6


def feature_mse(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return the mean squared difference of two features of one shape (FitNets, Romero et al. 2015, eq. 3).

    Raises ValueError where the shapes differ.
    """
    require_same_shape(student_features, teacher_features, "features")
    return F.mse_loss(upcast(student_features), upcast(teacher_features))


def attention_map(features: Tensor) -> Tensor:
    """Return Q (B, H·W) of feature maps (B, C, H, W): the channels' mean of f², each row divided by its L2 norm.

    Maps may also have one spatial axis, or three.

    Zagoruyko & Komodakis 2017, "Paying More Attention to Attention", section 3.1. The row of a map of zeros is zero.
    """
    return F.normalize(upcast(features).square().mean(dim=1).flatten(1), dim=1)


def attention_loss(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """Return Σ_l mean((Q_s - Q_t)²) over the layers l, the mean over the batch and H·W.

    As in the authors' code; the paper's eq. 2 has norms in place of means. Maps are (B, C, H, W), layer by layer. If
    two maps differ in height or width, the larger is pooled to the smaller size. Raises ValueError if the networks
    differ in the number of layers.
    """
    losses = []
    for student, teacher in zip(student_maps, teacher_maps, strict=True):
        size = [min(sizes) for sizes in zip(student.shape[2:], teacher.shape[2:], strict=True)]
        maps = (_pooled(layer, size) for layer in (student, teacher))
        losses.append(feature_mse(*(attention_map(layer) for layer in maps)))
    return torch.stack(losses).sum()


def _pooled(maps: Tensor, size: Sequence[int]) -> Tensor:
    return maps if list(maps.shape[2:]) == size else adaptive_avg_pool(upcast(maps), size)


def adaptive_avg_pool(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps (B, C, …) with one to three spatial axes, averaged to `size`."""
    pool: Any = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[len(size)]
    result: Tensor = pool(maps, tuple(size))
    return result


def rkd_distance(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return the mean smooth L1 difference of the pairwise distances, each network's divided by their positive mean.

    Features are (B, …), flattened; raises ValueError where the batches differ.
    """
    student, teacher = _relative_distances(student_features), _relative_distances(teacher_features)
    require_same_shape(student, teacher, "matrices of distances")
    return F.smooth_l1_loss(student, teacher)


def rkd_angle(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Return the mean smooth L1 difference of cos ∠jik over all triples of samples, the vertex at i.

    Features are (B, …), flattened; raises ValueError where the batches differ. Takes memory for B² · features and B³
    numbers.
    """
    student, teacher = _cosines(student_features), _cosines(teacher_features)
    require_same_shape(student, teacher, "cubes of angles")
    return F.smooth_l1_loss(student, teacher)


def _relative_distances(features: Tensor) -> Tensor:
    """Return the distances (B, B) between samples in units of the mean of those above zero."""
    vectors = upcast(features).flatten(1)
    # By differences: |x|² + |y|² - 2xy loses the small distances. torch's gradient at distance 0 is 0.
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.sum() / (distances > 0).sum().clamp(min=1)
    return distances / mean.where(mean > 0, 1.0)


def _cosines(features: Tensor) -> Tensor:
    """Return cos ∠jik at [i, j, k], shape (B, B, B); about 0 where j or k is the same as i."""
    vectors = upcast(features).flatten(1)
    differences = vectors.unsqueeze(0) - vectors.unsqueeze(1)
    lengths = torch.linalg.vector_norm(differences, dim=2, keepdim=True)
    # The difference of samples that count as one stays close to zero instead of becoming a direction.
    units = differences / lengths.where(lengths > _MIN_DISTANCE, 1.0)
    with without_autocast(units):
        return torch.bmm(units, units.transpose(1, 2))
