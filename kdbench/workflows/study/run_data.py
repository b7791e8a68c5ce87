"""The data of a run: split, subset and normalised in the same way for all of its models."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kdbench import data
from kdbench.data.batches import Batches
from kdbench.data.dataset import Dataset, Indices, Split
from kdbench.data.reading.images import axis_statistics, channel_statistics
from kdbench.data.selection import at_random, cut_validation, first_per_class, flip_labels, half, noisy_targets
from kdbench.errors import InputError
from kdbench.recipe import Data, Examples, Recipe, Subset
from kdbench.recipe.paths import located_data
from kdbench.results.preprocessing import Geometry, Preprocessing
from kdbench.workflows.files.pixels import require_of_scaled_pixels


@dataclass(frozen=True, eq=False)
class TrainingPart:
    """The samples that a model is trained on, some of which may have flipped labels or noise on their targets.

    `flipped` are the positions, ascending, of samples with a wrong class; `true_labels` are the original labels (N,) or
    targets (N, D). `content` is a hash of the images and of which samples are used, but not of the labels.
    """

    split: Split
    flipped: Indices
    true_labels: npt.NDArray[Any]
    content: str


@dataclass(frozen=True, eq=False)
class RunData:
    """The data of a run: its training and validation parts, and in `dataset` the test part and everything else.

    `content` is a hash of the images and labels of the training part, before it was split, of their normalisation and,
    for a recipe with a ready teacher, of the names of the classes.
    """

    dataset: Dataset
    content: str
    train: Split
    validation: Split
    preprocessing: Preprocessing
    _parts: dict[Examples, TrainingPart] = field(default_factory=dict)

    def part_of(self, examples: Examples) -> TrainingPart:
        """Return the training part that `examples` describes; the same object for the same subset and noise.

        Raises InputError if it asks for more images, or more wrong labels, than are possible.
        """
        key = examples.without_augmentation
        if key not in self._parts:
            split = _subset(self.train, key.subset)
            labels, flipped = _noisy_labels(split, key, self.dataset.classes)
            noisy = split if labels is split.labels else Split(split.inputs, labels, split.samples)
            content = _hash(split.inputs.data, split.samples.data)
            self._parts[key] = TrainingPart(noisy, flipped, split.labels, content)
        return self._parts[key]

    def batches(self, split: Split, batch: int, **options: Any) -> Batches:
        """Return `split` in normalised batches; `options` are those of `Batches`."""
        known = self.preprocessing
        normalisation = {"mean": known.mean, "std": known.std, "channel_axis": known.channel_axis}
        return Batches(split, batch=batch, **{"train": False, **normalisation, **options})

    def example(self, split: Split, samples: int) -> torch.Tensor:
        """Return the first `samples` inputs of `split`, normalised: (samples, …) float32, or token ids int64."""
        first = split.subset(range(min(samples, len(split))))
        return next(iter(self.batches(first, samples))).inputs


def load_run_data(recipe: Recipe) -> RunData:
    """Load a recipe's data and split the validation part off the training part."""
    options = recipe.data
    source: dict[str, Any] = options.model_dump(include={"download", "resize", "crop", "layout"})
    root = None if options.root is None else recipe.located(options.root)
    dataset = data.load(located_data(options.name, recipe.folder), root=root, **source)
    assert dataset.train is not None, "a loader returns the requested parts or raises"
    if dataset.task == "classification" and dataset.classes < 2:
        message = f"{options.name!r} has only one class: there is nothing to distinguish"
        raise InputError(message, "give labels of two classes or more; floats are the targets of a regression")
    train_part, validation = cut_validation(dataset.train, options.validation, options.split_seed)
    preprocessing = _preprocessing(dataset, train_part, options)
    # For pixels, the keys of earlier versions, whose trainings stay valid. Numbers need more: bytes fit many shapes.
    keys = {"scale", "mean", "std", *(("data_layout", "channel_axis") if preprocessing.data_layout else ())}
    constants = preprocessing.model_dump_json(include=keys).encode()
    constants += repr(dataset.train.inputs.shape).encode() if preprocessing.data_layout else b""
    if any(teacher.is_ready and teacher.weights is not None for teacher in recipe.teacher):
        constants += repr(dataset.class_names).encode()  # which map its outputs
    content = _hash(dataset.train.inputs.data, dataset.train.labels.data, constants)
    # Frees the whole training part: the two parts are copies.
    return RunData(dataset.only(("test",)), content, train_part, validation, preprocessing)


def _preprocessing(dataset: Dataset, training: Split, options: Data) -> Preprocessing:
    """Return how the inputs are normalised: by the recipe, else by the data set, else fitted to `training`.

    `training` has no sample of the validation part.
    """
    geometry = Geometry(resize=options.resize, crop=None if options.crop is None else (options.crop, options.crop))
    mean, std = options.mean or dataset.mean, options.std or dataset.std
    if not (mean and std) and training.inputs.dtype != np.int64:
        pixels = training.inputs.dtype == np.uint8
        fitted_mean, fitted_std = (
            channel_statistics(training.inputs) if pixels else axis_statistics(training.inputs, dataset.channel_axis)
        )
        mean, std = mean or fitted_mean, std or fitted_std
    if training.inputs.dtype == np.uint8:
        require_of_scaled_pixels(mean, std)
        return Preprocessing(mean=mean, std=std, geometry=geometry)
    layout = dataset.stored_layout or dataset.layout
    axis = dataset.channel_axis
    return Preprocessing(scale=1, mean=mean, std=std, geometry=geometry, data_layout=layout, channel_axis=axis)


def _noisy_labels(split: Split, examples: Examples, classes: int) -> tuple[npt.NDArray[Any], Indices]:
    """Return the labels that a model is trained with, and the positions of the wrong classes among them."""
    none: Indices = np.empty(0, dtype=np.int64)
    if examples.target_noise.std:
        return noisy_targets(split.labels, split.samples, **examples.target_noise.model_dump()), none
    if not examples.label_noise.flips:
        return split.labels, none
    options: dict[str, Any] = examples.label_noise.model_dump(include={"share", "count", "seed"})
    return flip_labels(split.labels, split.samples, classes, **options)


def _subset(split: Split, subset: Subset) -> Split:
    if subset.first_per_class is not None:
        return split.subset(first_per_class(split, subset.first_per_class))
    if subset.random is not None:
        return split.subset(at_random(split, subset.random, subset.seed))
    if subset.half is not None:
        return split.subset(half(split, subset.half, subset.seed))
    return split


def _hash(*arrays: Any) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array)
    return digest.hexdigest()
