"""Distillation losses as pure functions. Shapes: logits (B, C), labels (B,), features (B, …). Losses are scalars.

Every divergence is KL(teacher ‖ student) in nats, summed over classes, averaged over the batch, times T² where it is
softened. Losses are computed in float32 whatever the networks computed in.
"""

from kdbench.distill.losses.contrastive import (
    contrast_log_partition,
    contrast_scores,
    contrastive_loss,
    momentum_update,
)
from kdbench.distill.losses.decoupled import dkd, nckd, tckd, warm_up
from kdbench.distill.losses.features import attention_loss, attention_map, feature_mse
from kdbench.distill.losses.logits import (
    Std,
    correct,
    cross_entropy,
    ensemble_logits,
    kl_divergence,
    mean_kl,
    mutual_kl,
    softened_kl,
    standardize,
)
from kdbench.distill.losses.relations import rkd_angle, rkd_distance

__all__ = [
    "Std",
    "attention_loss",
    "attention_map",
    "contrast_log_partition",
    "contrast_scores",
    "contrastive_loss",
    "correct",
    "cross_entropy",
    "dkd",
    "ensemble_logits",
    "feature_mse",
    "kl_divergence",
    "mean_kl",
    "momentum_update",
    "mutual_kl",
    "nckd",
    "rkd_angle",
    "rkd_distance",
    "softened_kl",
    "standardize",
    "tckd",
    "warm_up",
]
