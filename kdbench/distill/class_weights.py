"""Weights of the classes in the cross-entropy with the labels, for data with rare classes."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from kdbench.data.dataset import Labels
from kdbench.errors import InputError


def class_weights(
    setting: Literal["balanced"] | Sequence[float] | None, labels: Labels, classes: int, name: str
) -> tuple[float, ...] | None:
    """Return one weight per class for a model `name` that is trained on `labels` (N,); None without a setting.

    "balanced" weights are N / (classes · N_c): every class then has the same total weight. A class without labels gets
    0. Raises InputError if the number of weights is not `classes`.

        class_weights("balanced", np.array([0, 0, 0, 1]), 2, "student")    # (0.667, 2.0)
    """
    if setting is None:
        return None
    if setting == "balanced":
        counts = np.bincount(labels, minlength=classes)
        weights = len(labels) / (classes * np.maximum(counts, 1)) * (counts > 0)
        return tuple(weights.tolist())
    if len(setting) != classes:
        message = f"{name}: training.class_weights has {len(setting)} values, and the data has {classes} classes"
        raise InputError(message, 'give one per class, or "balanced"')
    return tuple(float(weight) for weight in setting)
