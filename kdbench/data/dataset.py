"""A data set in memory: uint8 images, labels, class names and normalisation constants; and requests for one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from kdbench.errors import InputError
from kdbench.results.preprocessing import Geometry

Part = Literal["train", "test"]
PARTS: tuple[Part, Part] = ("train", "test")

Images = npt.NDArray[Any]  # uint8, or float32 where a request allows it
Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.integer]

_NOT_NUMBERED: Labels = np.empty(0, dtype=np.int64)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message, "check the files of this data set; if they are right, its loader is wrong")


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, C, H, W) uint8, C-contiguous, and their labels (N,) int64; never empty.

    Where the request allows floats, images may be float32: pixels from 0 to 1, or what else a model was trained on.

    `samples` (N,) int64 are the samples' numbers in the data set; a subset keeps them, and random numbers are keyed to
    them.
    """

    images: Images
    labels: Labels
    samples: Labels = field(default_factory=lambda: _NOT_NUMBERED)  # numbered from 0 by default

    def __post_init__(self) -> None:
        if self.samples is _NOT_NUMBERED:
            object.__setattr__(self, "samples", np.arange(len(self.labels), dtype=np.int64))
        images, labels = self.images, self.labels
        _require(len(self.samples) == len(labels), f"{len(labels)} labels but {len(self.samples)} sample numbers")
        valid = images.dtype in {np.dtype(np.uint8), np.dtype(np.float32)} and images.ndim == 4
        _require(valid, f"images must be (N,C,H,W) uint8 or float32, not {_form(images)}")
        _require(labels.dtype == np.int64 and labels.ndim == 1, f"labels must be (N,) int64, not {_form(labels)}")
        _require(len(images) == len(labels), f"{len(images)} images but {len(labels)} labels")
        _require(images.size > 0, f"no images: shape {images.shape}")
        _require(images.flags.c_contiguous, "images must be C-contiguous")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Sequence[int] | Indices) -> "Split":
        """Return a copy of the samples at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return Split(self.images[chosen], self.labels[chosen], self.samples[chosen])


def _form(array: npt.NDArray[np.generic]) -> str:
    return f"{array.shape} {array.dtype}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory; a part that was not requested is None.

    `inferred_classes` says that `class_names` only numbers the labels that occur: there may be further classes. `mean`
    and `std` are per channel, in units of 0–1 (after division by 255); `source` names the origin of the data, their
    licence or citation, and the origin of the constants; `notes` tell what was left out.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split | None
    test: Split | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    inferred_classes: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        splits = self._splits()
        _require(bool(splits), f"{self.name}: neither a training nor a test part")
        shapes = {split.images.shape[1:] for split in splits}
        _require(len(shapes) == 1, f"{self.name}: training and test images differ in shape: {sorted(shapes)}")
        for split in splits:
            low, high = int(split.labels.min()), int(split.labels.max())
            fault = f"{self.name}: labels from {low} to {high}, but classes are 0 to {self.classes - 1}"
            _require(low >= 0 and high < self.classes, fault)
        channels, means, stds = self.input_shape[0], len(self.mean), len(self.std)
        fault = f"{self.name}: {channels} channels, but {means} means and {stds} standard deviations"
        _require(means == stds == channels, fault)
        _require(all(std > 0 for std in self.std), f"{self.name}: a standard deviation must be positive: {self.std}")

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def known_classes(self) -> int | None:
        """The number of classes, or None if it was only inferred from the labels."""
        return None if self.inferred_classes else self.classes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        _, channels, height, width = self._splits()[0].images.shape
        return channels, height, width

    def only(self, parts: Sequence[Part]) -> Self:
        """Return the data set without the parts not named in `parts`."""
        train, test = (getattr(self, part) if part in parts else None for part in PARTS)
        return replace(self, train=train, test=test)

    def _splits(self) -> list[Split]:
        return [split for split in (self.train, self.test) if split is not None]


@dataclass(frozen=True)
class Request:
    """A request to a loader, which must respect every field.

    `root` is the folder of downloaded sets, `parts` the parts to load, `geometry` how images are brought to one size.
    With `floats`, images that are stored as floats stay so.
    """

    name: str
    root: Path | None = None
    download: bool = False
    parts: tuple[Part, ...] = PARTS
    geometry: Geometry = Geometry()  # noqa: RUF009 - frozen
    floats: bool = False


Loader = Callable[[Request], Dataset]
