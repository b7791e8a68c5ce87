"""The data of a run, cut and normalised the same way for every model of it."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch

from kdbench import data
from kdbench.data.batches import Batches
from kdbench.data.dataset import Dataset, Indices, Labels, Split
from kdbench.data.selection import at_random, cut_validation, first_per_class, flip_labels, half
from kdbench.recipe import Examples, Recipe, Subset
from kdbench.results.cards import Preprocessing


@dataclass(frozen=True, eq=False)
class TrainingPart:
    """What a model is trained on: images and labels, some of which may have been changed.

    `flipped` are the positions, ascending, of samples with a wrong label, `true_labels` (N,) what they were. `content`
    is a hash of the images alone, in which views they are shown included.
    """

    split: Split
    flipped: Indices
    true_labels: Labels
    content: str


@dataclass(frozen=True, eq=False)
class RunData:
    """The data of a run, cut: training and validation part for the training, the test part for the end.

    `dataset` is what is left of the set itself: everything but the training part. `content` is a hash of the images
    and labels that are trained on, and of how they are normalised.
    """

    dataset: Dataset
    content: str
    train: Split
    validation: Split
    preprocessing: Preprocessing
    _parts: dict[Examples, TrainingPart] = field(default_factory=dict)

    def part_of(self, examples: Examples) -> TrainingPart:
        """Return the training part as `examples` says, the same object for the same subset and noise.

        Raises InputError for more images, or wrong labels, than there are.
        """
        wanted = Examples(subset=examples.subset, label_noise=examples.label_noise)
        if wanted not in self._parts:
            self._parts[wanted] = self._cut(wanted)
        return self._parts[wanted]

    def batches(self, split: Split, batch: int, **options: Any) -> Batches:
        """Return `split` in batches as a network sees it, normalised; `options` are those of `Batches`."""
        normalisation = {"mean": self.preprocessing.mean, "std": self.preprocessing.std}
        return Batches(split, batch=batch, **{"train": False, **normalisation, **options})

    def example(self, split: Split, samples: int) -> torch.Tensor:
        """Return the first `samples` images of `split` as a network sees them, (samples, C, H, W) float32."""
        return next(iter(self.batches(split, samples))).images

    def _cut(self, wanted: Examples) -> TrainingPart:
        split = _subset(self.train, wanted.subset)
        noise = wanted.label_noise
        labels, flipped = flip_labels(
            split.labels, split.samples, self.dataset.classes, share=noise.share, count=noise.count, seed=noise.seed
        )
        noisy = Split(split.images, labels, split.samples) if noise.flips else split
        return TrainingPart(noisy, flipped, split.labels, _hash(split.images.data, split.samples.data))


def load_run_data(recipe: Recipe) -> RunData:
    """Load a recipe's data and cut the validation part off the training part."""
    wanted = recipe.data
    dataset = data.load(wanted.name, root=wanted.root, download=wanted.download, resize=wanted.resize, crop=wanted.crop)
    assert dataset.train is not None, "a loader that was asked for the training part gives it or says why not"
    train_part, validation = cut_validation(dataset.train, wanted.validation, wanted.split_seed)
    preprocessing = Preprocessing(mean=wanted.mean or dataset.mean, std=wanted.std or dataset.std)
    content = _hash(dataset.train.images.data, dataset.train.labels.data, preprocessing.model_dump_json().encode())
    # The whole training part is let go: its two cuts are copies.
    return RunData(dataset.only(("test",)), content, train_part, validation, preprocessing)


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
