"""A data set in memory: inputs, labels or targets, their names and normalisation constants; and requests for one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from kdbench.errors import InputError
from kdbench.results.preprocessing import DataLayout, Geometry

Part = Literal["train", "test"]
PARTS: tuple[Part, Part] = ("train", "test")

Task = Literal["classification", "regression"]

Inputs = npt.NDArray[Any]  # uint8, float32 or int64
Images = npt.NDArray[Any]  # uint8, or float32 where a request allows it
Labels = npt.NDArray[np.int64]
Targets = npt.NDArray[np.float32]
Indices = npt.NDArray[np.integer]

_LAYOUTS: dict[int, DataLayout] = {2: "vectors", 3: "NCL", 4: "NCHW", 5: "NCDHW"}  # by axes, channels second
_NUMBERS = {np.dtype(np.float32), np.dtype(np.int64)}
_NOT_NUMBERED: Labels = np.empty(0, dtype=np.int64)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message, "check the files of this data set; if they are right, its loader is wrong")


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs (N, …), C-contiguous, and their labels; never empty.

    Inputs are images (N, C, H, W) uint8; float32 of any shape, such as images of many channels, rows of a table (N, F)
    or sequences (N, T, F); or token ids (N, T) int64. Labels are classes (N,) int64, or targets of a regression (N, D)
    float32.

    `samples` (N,) int64 are the samples' numbers in the data set; a subset keeps them, and random numbers are keyed to
    them.
    """

    inputs: Inputs
    labels: npt.NDArray[Any]
    samples: Labels = field(default_factory=lambda: _NOT_NUMBERED)  # numbered from 0 by default

    def __post_init__(self) -> None:
        if self.samples is _NOT_NUMBERED:
            object.__setattr__(self, "samples", np.arange(len(self.labels), dtype=np.int64))
        inputs, labels = self.inputs, self.labels
        _require(len(self.samples) == len(labels), f"{len(labels)} labels but {len(self.samples)} sample numbers")
        valid = inputs.ndim == 4 if inputs.dtype == np.uint8 else inputs.dtype in _NUMBERS and inputs.ndim >= 2
        _require(valid, f"inputs must be (N,C,H,W) uint8, or (N,…) float32 or int64, not {_form(inputs)}")
        valid = (labels.dtype == np.int64 and labels.ndim == 1) or (labels.dtype == np.float32 and labels.ndim == 2)
        _require(valid, f"labels must be (N,) int64, or targets (N,D) float32, not {_form(labels)}")
        _require(len(inputs) == len(labels), f"{len(inputs)} inputs but {len(labels)} labels")
        _require(inputs.size > 0, f"no inputs: shape {inputs.shape}")
        _require(inputs.flags.c_contiguous, "inputs must be C-contiguous")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Sequence[int] | Indices) -> "Split":
        """Return a copy of the samples at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return Split(self.inputs[chosen], self.labels[chosen], self.samples[chosen])


def _form(array: npt.NDArray[np.generic]) -> str:
    return f"{array.shape} {array.dtype}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory; a part that was not requested is None.

    `class_names` name the classes, or the components of a regression's targets. `inferred_classes` is True if they only
    number the labels that occur: there may be further classes. `mean` and `std` are per index of the inputs' axis
    `channel_axis`, for uint8 in units of 0–1 (after division by 255), and empty for token ids; if they are empty for
    others, they are computed from the training samples. `source` names the origin of the data, their licence or
    citation, and the origin of the constants; `notes` say what was left out. `stored_layout` is the layout of the
    arrays that the set was read from, if a layout was needed to read them.
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
    channel_axis: int = 1
    stored_layout: DataLayout | None = None

    def __post_init__(self) -> None:
        splits = self._splits()
        _require(bool(splits), f"{self.name}: neither a training nor a test part")
        shapes = {split.inputs.shape[1:] for split in splits}
        _require(len(shapes) == 1, f"{self.name}: training and test inputs differ in shape: {sorted(shapes)}")
        _require(
            len({split.labels.dtype for split in splits}) == 1, f"{self.name}: labels in one part, targets in another"
        )
        for split in splits:
            if self.task == "regression":
                targets = split.labels.shape[1]
                _require(targets == self.outputs, f"{self.name}: {targets} targets, but {self.outputs} names")
                continue
            low, high = int(split.labels.min()), int(split.labels.max())
            fault = f"{self.name}: labels from {low} to {high}, but classes are 0 to {self.classes - 1}"
            _require(low >= 0 and high < self.classes, fault)
        inputs, means, stds = splits[0].inputs, len(self.mean), len(self.std)
        fault = f"{self.name}: inputs of shape {inputs.shape} have no channel axis {self.channel_axis}"
        _require(0 < self.channel_axis < inputs.ndim, fault)
        _require(len({split.inputs.dtype for split in splits}) == 1, f"{self.name}: the parts differ in type of inputs")
        channels = 0 if inputs.dtype == np.int64 else inputs.shape[self.channel_axis]
        fault = f"{self.name}: {channels} channels, but {means} means and {stds} standard deviations"
        _require(means == stds and means in {channels, 0}, fault)
        _require(all(std > 0 for std in self.std), f"{self.name}: a standard deviation must be positive: {self.std}")

    @property
    def task(self) -> Task:
        """The task: classification, which predicts a class of each sample, or regression, which predicts numbers."""
        return "classification" if self._splits()[0].labels.dtype == np.int64 else "regression"

    @property
    def outputs(self) -> int:
        """The number of a network's outputs: classes, or components of a target."""
        return len(self.class_names)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def scale(self) -> float:
        """The divisor of inputs before `mean` and `std` apply: 255 for uint8, else 1."""
        return 255.0 if self._splits()[0].inputs.dtype == np.uint8 else 1.0

    @property
    def layout(self) -> DataLayout:
        """The meaning of the inputs' axes; "array" for a form without a name."""
        inputs = self._splits()[0].inputs
        if inputs.dtype == np.int64:
            return "tokens" if inputs.ndim == 2 else "array"
        if self.channel_axis == 2 and inputs.ndim == 3:
            return "sequences"
        return _LAYOUTS.get(inputs.ndim, "array") if self.channel_axis == 1 else "array"

    @property
    def known_classes(self) -> int | None:
        """The number of classes, or None if it was only inferred from the labels."""
        return None if self.inferred_classes else self.classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: channels, height and width of an image."""
        return self._splits()[0].inputs.shape[1:]

    def only(self, parts: Sequence[Part]) -> Self:
        """Return the data set without the parts not named in `parts`."""
        train, test = (getattr(self, part) if part in parts else None for part in PARTS)
        return replace(self, train=train, test=test)

    def _splits(self) -> list[Split]:
        return [split for split in (self.train, self.test) if split is not None]


Pick = Callable[[Labels], Indices]
"""Returns the positions to keep, ascending, of samples with the numbers (N,); applied again, it keeps all of them."""


@dataclass(frozen=True)
class Request:
    """A request to a loader, which must respect every field except `pick`.

    `root` is the folder of downloaded sets, `parts` the parts to load, `geometry` the resizing and cropping of images.
    With `floats`, images stored as floats stay floats. `layout` is the meaning of the axes of arrays. `pick` selects
    samples of the training part: a loader need not read the others.
    """

    name: str
    root: Path | None = None
    download: bool = False
    parts: tuple[Part, ...] = PARTS
    geometry: Geometry = Geometry()  # noqa: RUF009 - frozen
    floats: bool = False
    layout: str = "auto"
    pick: Pick | None = None


Loader = Callable[[Request], Any]
"""Returns a `Dataset`, or plain arrays in a form that `kdbench.data.reading.arrays.dataset_from_arrays` reads."""


@dataclass(frozen=True)
class SampleForm:
    """The input and output sizes of a network for a data set: the shape of one sample, and the number of outputs.

    For images that differ in size, the shape is that after resizing and cropping to squares of `square_pixels`.
    """

    input_shape: tuple[int, ...]
    outputs: int
    square_pixels: int | None = None
