"""The data of a run, cut and normalised the same way for every model of it."""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch

from kdbench import data
from kdbench.cards import Preprocessing
from kdbench.data.batches import Batches
from kdbench.data.dataset import Dataset, Split
from kdbench.data.split import cut_validation
from kdbench.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Material:
    """The data of a run, cut: training and validation part for the training, the test part for the end.

    `dataset` is what is left of the set itself: everything but the training part. `content` is a hash of the images
    and labels that are trained on.
    """

    dataset: Dataset
    content: str
    train: Split
    validation: Split
    preprocessing: Preprocessing

    def batches(self, split: Split, batch: int, **options: Any) -> Batches:
        """Return `split` in batches as a network sees it, normalised; `options` are those of `Batches`."""
        normalisation = {"mean": self.preprocessing.mean, "std": self.preprocessing.std}
        return Batches(split, batch=batch, **{"train": False, **normalisation, **options})

    def example(self, split: Split, samples: int) -> torch.Tensor:
        """Return the first `samples` images of `split` as a network sees them, (samples, C, H, W) float32."""
        return next(iter(self.batches(split, samples))).images


def load_material(recipe: Recipe) -> Material:
    """Load a recipe's data and cut the validation part off the training part."""
    wanted = recipe.data
    dataset = data.load(wanted.name, root=wanted.root, download=wanted.download, resize=wanted.resize, crop=wanted.crop)
    assert dataset.train is not None, "a loader that was asked for the training part gives it or says why not"
    train_part, validation = cut_validation(dataset.train, wanted.validation, wanted.split_seed)
    preprocessing = Preprocessing(mean=wanted.mean or dataset.mean, std=wanted.std or dataset.std)
    # The whole training part is let go: its two cuts are copies.
    return Material(dataset.only(("test",)), _content(dataset.train), train_part, validation, preprocessing)


def _content(split: Split) -> str:
    digest = hashlib.sha256(split.images.data)
    digest.update(split.labels.data)
    return digest.hexdigest()
