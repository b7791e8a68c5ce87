"""The inputs of a measurement: the models, their networks or the reasons for refusing them, and the test images."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from kdbench.characters import shortened
from kdbench.evaluate.class_map import ClassMap
from kdbench.modelfile.facts import ModelFacts
from kdbench.results.cards import ModelCard
from kdbench.results.preprocessing import DataLayout, Geometry, Preprocessing
from kdbench.results.records import Status
from kdbench.worker.jobs import Network

# Only the measuring process imports it. It is never read from a file.
_BUILDER = "kdbench.models:build"
_MAX_SHOWN = 80  # characters of a name that comes from a file


@dataclass(frozen=True)
class Refusal:
    """Why a model is not measured, or not in one runtime; the remedy; and the status of the missing numbers."""

    reason: str
    hint: str | None = None
    status: Status = "unavailable"


UNKNOWN_NETWORK = Refusal(
    "the network that the file was exported from is not known",
    "measure RUN/models/ID.onnx of a kdbench run: its folder has the weights",
)

EMULATED = Refusal(
    "it was trained with fake quantization: PyTorch emulates every rounding with an extra pass in float32, so the "
    "times would be those of the emulation",
    "measure its file in onnxruntime",
)

COMPRESSED = Refusal(
    "it was compressed as a file, and no torch network computes the same", "measure its file in onnxruntime"
)

PRUNED = Refusal(
    "its network is pruned, but the card names the network before pruning", "measure its file in onnxruntime"
)

NO_WEIGHTS = Refusal("the file's card names no weights", "export it again: kdbench run … --resume")

USER_CODE = Refusal(
    "its network is user code: kdbench does not import code that a card names, because a card may come from anywhere",
    "measure its file in onnxruntime",
)


def network_of(card: ModelCard | None, path: Path) -> Network | Refusal:
    """Return how to build the network of the exported file at `path`, by its `card`, or why that is impossible.

    The weights are in the run's folder, to which the card's `file` is relative.
    """
    if card is None:
        return UNKNOWN_NETWORK
    reasons = (
        (card.variant is not None, COMPRESSED),
        (card.bits is not None, EMULATED),
        (card.pruned is not None, PRUNED),
        (None in {card.architecture, card.weights, card.outputs}, NO_WEIGHTS),
        (":" in (card.architecture or ""), USER_CODE),
    )
    if (refusal := next((refusal for applies, refusal in reasons if applies), None)) is not None:
        return refusal
    assert card.architecture is not None
    assert card.weights is not None
    assert card.outputs is not None
    weights = _inside(_run_folder(card, path), card.weights)
    if weights is None:
        return Refusal(
            f"its weights are not at {shortened(card.weights, _MAX_SHOWN)!r} in its run's folder",
            "measure it in the run's folder where it was exported",
        )
    return Network(_BUILDER, (card.architecture, card.input_shape, card.outputs), card.options, str(weights))


def _run_folder(card: ModelCard, path: Path) -> Path:
    """Return the folder that `card.file` is relative to; for a file that has been moved, its own folder."""
    here, file = path.resolve(), PurePosixPath(card.file)
    moved = file.is_absolute() or here.parts[-len(file.parts) :] != file.parts
    return here.parent if moved else here.parents[len(file.parts) - 1]


def _inside(folder: Path, name: str) -> Path | None:
    """Return the file `name` in `folder`; None if it does not exist, or is outside the folder (a link may lead there).

    A card may come from anywhere: a name that is no valid path is a user's input, not a bug.
    """
    try:
        file = (folder / name).resolve()
        return file if file.is_relative_to(folder) and file.is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long a name, a cycle of links, a null character
        return None


@dataclass(frozen=True)
class BenchModel:
    """A model file to measure.

    card, path, facts: the model's description, its file, and what the file shows. teacher: the id of the model that it
    is compared with. timed: False for accuracy, fidelity, size and MACs only. network: what the file was exported from,
    for runtimes that do not run files; or why it cannot be built. refusal: why the model is not measured at all.
    refused: why it is not measured in some runtimes, by name. class_map: which of its outputs are the data's classes;
    None for the first ones. behind: for a compressed variant of a student, the id of the student's teacher; `teacher`
    is then the student. Limits relative to a teacher compare the variant with `behind`.
    """

    card: ModelCard
    path: Path
    facts: ModelFacts
    teacher: str | None = None
    timed: bool = True
    network: Network | Refusal = UNKNOWN_NETWORK
    refusal: Refusal | None = None
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    class_map: ClassMap | None = None
    behind: str | None = None

    @property
    def id(self) -> str:
        """The card's id."""
        return self.card.id

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def sha256(self) -> str:
        """The hash of the file."""
        return self.facts.sha256

    @property
    def fixed_batch(self) -> int | None:
        """The only batch that the file takes, if it fixes one."""
        return self.facts.fixed_batch

    def class_map_of(self, returned: int) -> ClassMap | None:
        """Return the map of all outputs of the model, which returned `returned` values a sample; None as `class_map`.

        Raises InputError for another number of values than the model has outputs.
        """
        if self.class_map is None:
            return None
        return self.class_map.for_width(returned, self.facts.output.scored_as, self.name)

    def refusal_in(self, runtime: str | None) -> Refusal | None:
        """Return why the model is not measured in `runtime` (None: in any runtime), or None if it is."""
        return self.refusal or self.refused.get(runtime or "")


class Refusable(Protocol):
    """A model that may have been refused, with what the reasons for missing numbers need."""

    @property
    def id(self) -> str:
        """The card's id."""

    @property
    def name(self) -> str:
        """The card's name."""

    def refusal_in(self, runtime: str | None) -> Refusal | None:
        """Return why the model is not measured in `runtime` (None: in any runtime), or None if it is."""


@dataclass(frozen=True)
class TestSet:
    """The test samples of a measurement.

    inputs: as in a `Split`.
    labels: classes, int64 (N,); or targets of a regression, float32 (N, D).
    classes: how many classes there are, where the data lists them. A model must then have exactly as many; otherwise
    at least as many as the labels show.
    in_geometry: the same images in the geometries that particular models take.
    in_layout: the same samples for models that take numbers, by layout and geometry.
    hashes_inputs: True for the test set of a run: `sha256` is that of `inputs`, even with several geometries.
    """

    __test__ = False  # pytest would take its name for a test class

    inputs: NDArray[Any]
    labels: NDArray[Any]
    classes: int | None = None
    in_geometry: Mapping[Geometry, NDArray[Any]] = field(default_factory=dict)
    in_layout: Mapping[tuple[DataLayout, Geometry], NDArray[Any]] = field(default_factory=dict)
    hashes_inputs: bool = False

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What is predicted: a class of each sample, or numbers."""
        return "classification" if self.labels.ndim == 1 else "regression"

    def images_of(self, model: BenchModel) -> NDArray[Any]:
        """Return the images as a model takes them."""
        preprocessing = model.card.preprocessing or Preprocessing()
        images = self.in_geometry.get(preprocessing.geometry, self.inputs)
        if preprocessing.data_layout is not None:
            return self.in_layout.get((preprocessing.data_layout, preprocessing.geometry), images)
        return images

    def sha256(self) -> str:
        """Return the SHA-256 of the shape, images and labels, in their order.

        With several geometries it is that of the unchanged images, if a model takes these. The order of the models does
        not matter.
        """
        first = min(
            self.in_geometry,
            key=lambda geometry: (geometry != Geometry(colour=geometry.colour), geometry.model_dump_json()),
            default=None,
        )
        inputs = self.inputs if first is None or self.hashes_inputs else self.in_geometry[first]
        digest = hashlib.sha256(repr(inputs.shape).encode())
        for sample in inputs:  # one by one: a large set may not be contiguous
            digest.update(sample.tobytes())
        digest.update(self.labels.astype("<i8" if self.task == "classification" else "<f4").tobytes())
        return digest.hexdigest()
