"""Optional analyses of predictions, and the training images that some need."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kdbench.evaluate.fidelity import Std
from kdbench.results.records import Axes

TRAIN: Axes = {"part": "train"}
"""The axes of measurements on training images; those on the test set have none."""


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """Images that models were trained on, without augmentation: uint8 (N, C, H, W).

    `labels` (N,) are those used in training, `true_labels` (N,) the right ones. The images `drawn` (N,) are a sample of
    the whole training part; the others are there because their label was changed.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    true_labels: NDArray[np.int64]
    drawn: NDArray[np.bool_]

    @property
    def flipped(self) -> NDArray[np.bool_]:
        """Whether an image's label was changed, (N,)."""
        changed: NDArray[np.bool_] = self.labels != self.true_labels
        return changed


@dataclass(frozen=True)
class Analyses:
    """What to analyse.

    `class_names` are the names of all classes, if known. `training` maps a model's id to images that it was trained on;
    models that were trained on the same images share one object. `independent` maps a student's id to the student that
    it is contrasted with, which learned from the labels alone. `std` is the standard deviation that standardizes
    logits.
    """

    class_names: tuple[str, ...] = ()
    training: Mapping[str, TrainingImages] = field(default_factory=dict)
    independent: Mapping[str, str] = field(default_factory=dict)
    std: Std = "population"

    def class_axis(self, label: int) -> str | int:
        """Return the name of a class, or its number if names are unknown."""
        return self.class_names[label] if label < len(self.class_names) else label
