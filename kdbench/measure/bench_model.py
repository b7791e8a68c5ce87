"""The inputs of a measurement: the models with what is known of them, and the test images."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdbench.measure.network import FOREIGN, Refusal
from kdbench.modelfile.facts import ModelFacts
from kdbench.recipe.measure import Measure
from kdbench.results.cards import ModelCard
from kdbench.worker.jobs import Network

SEED = 0
"""The seed of everything random in a measurement: noise images, order of blocks, arrivals, resampling."""


@dataclass(frozen=True)
class BenchModel:
    """A model file to measure; `teacher` is the id of the model it is compared with, if any.

    A model that is not `timed` gets accuracy, fidelity, size and MACs only. `network` is what the file was exported
    from, for runtimes that do not run the file. `refusal` says why the model is not measured at all; `refused` maps
    each runtime that does not run it to the reason.
    """

    card: ModelCard
    path: Path
    facts: ModelFacts
    teacher: str | None = None
    timed: bool = True
    network: Network | Refusal = FOREIGN
    refusal: Refusal | None = None
    refused: Mapping[str, Refusal] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The card's id."""
        return self.card.id

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    def refusal_in(self, runtime: str | None) -> Refusal | None:
        """Return why the model is not measured in `runtime` (None: whatever runs it), or None where it is."""
        return self.refusal or self.refused.get(runtime or "")


@dataclass(frozen=True)
class TestSet:
    """Test images, uint8 (N, C, H, W), and labels, int64 (N,); `classes` where their list is known.

    A model must have just as many then; else at least as many as the labels show.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int | None = None

    def sha256(self) -> str:
        """Return the SHA-256 of the shape, images and labels, in their order."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        for image in self.images:  # one by one: a large set may not be contiguous
            digest.update(image.tobytes())
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


def outer_batches(model: BenchModel, config: Measure) -> list[int]:
    """Return batch 1 and the largest configured batch; a fixed batch alone."""
    if model.facts.fixed_batch:
        return [model.facts.fixed_batch]
    return sorted({1, max(config.batch, default=1)})


def students(models: Sequence[BenchModel]) -> list[tuple[BenchModel, BenchModel]]:
    """Return (teacher, student) for each model whose teacher is another one of `models`."""
    by_id = {model.id: model for model in models}
    return [(by_id[s.teacher], s) for s in models if s.teacher in by_id and s.teacher != s.id]
