"""Logit standardization (Sun et al. 2024, "Logit Standardization in Knowledge Distillation", algorithm 1)."""

from typing import Literal

from torch import Tensor

from kdbench.distill.losses.inputs import wide

Std = Literal["unbiased", "population"]
"""Whose standard deviation: of a sample, divided by C - 1 (the authors' code), or of the row itself, by C."""


def standardize(logits: Tensor, std: Std) -> Tensor:
    """Return (z - mean) / (1e-7 + standard deviation) of each row of logits (B, C).

    Applied to both networks, so that the student need match neither the location nor the scale of the teacher's
    logits. A row of equal logits becomes zeros.
    """
    logits = wide(logits)
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (1e-7 + logits.std(dim=1, correction=1 if std == "unbiased" else 0, keepdim=True))
