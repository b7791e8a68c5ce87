"""The accuracy of a file on labelled samples that were not used for calibration, and the loss of a variant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.compress.observing import Observer
from kdbench.results.cards import CalibrationSet
from kdbench.units import share

if TYPE_CHECKING:
    import onnx

_LEARNED = 0.98  # the accuracy on samples of its own training that a fully trained model has

Run = Callable[[NDArray[Any]], NDArray[Any]]
"""A model as a function from prepared inputs (n, …) to outputs (n, …)."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Labelled samples on which a file is evaluated; `known` describes them.

    `correct` runs a model over them and returns whether each label ranks first, (N,). It raises InputError for outputs
    that are not finite. `seen` is True if the model may have been trained on them.
    """

    correct: Callable[[Run], NDArray[np.bool_]]
    known: CalibrationSet
    seen: bool = False

    def of(self, model: "onnx.ModelProto", input_name: str, output_name: str) -> NDArray[np.bool_]:
        """Return whether `model` ranks the label of each sample first, (N,).

        `input_name` and `output_name` name the model's input and output. Quantized layers compute in floating point, so
        that the result is the same on every CPU.
        """
        observer = Observer(model, [output_name], simulated=True, input_name=input_name)
        return self.correct(lambda inputs: observer(inputs)[output_name])


@dataclass(frozen=True)
class Loss:
    """A variant's loss of accuracy against its source on `samples` samples.

    `correct` counts the samples that the source classifies correctly, `lost` those of them that the variant does not,
    `gained` those that only the variant classifies correctly.
    """

    samples: int
    correct: int
    lost: int
    gained: int

    @classmethod
    def between(cls, source: NDArray[np.bool_], variant: NDArray[np.bool_]) -> "Loss":
        """Return the loss from `source` to `variant`, two arrays (N,) of whether each sample is correct."""
        lost, gained = int((source & ~variant).sum()), int((variant & ~source).sum())
        return cls(len(source), int(source.sum()), lost, gained)

    @property
    def source_top1(self) -> float:
        """The share of samples that the source classifies correctly."""
        return self.correct / self.samples

    @property
    def drop_points(self) -> float:
        """The loss of top-1 in percentage points."""
        return 100 * (self.lost - self.gained) / self.samples

    @property
    def facts(self) -> dict[str, Any]:
        """The loss for a card, with the 95 % interval of the drop (Bonett and Price 2012)."""
        from kdbench.statistics import paired_share_difference

        drop = paired_share_difference(self.lost, self.gained, self.samples)
        bounds = [round(100 * end, 3) for end in (drop.low, drop.high) if end is not None]
        return {
            "samples": self.samples,
            "source_top1": round(self.source_top1, 5),
            "top1": round((self.correct - self.lost + self.gained) / self.samples, 5),
            "drop_points": round(self.drop_points, 3),
            "drop_interval_points": bounds,
            "negative_flips": round(self.lost / self.samples, 5),
        }


def warnings_about_samples(source_top1: float, *, seen: bool) -> tuple[str, ...]:
    """Return the warning for samples that the model has probably `seen` in training, judging by its accuracy."""
    if not seen or source_top1 < _LEARNED:
        return ()
    line = f"the model classifies {share(source_top1)} of the held-out training images correctly, so it was probably"
    return (f"{line} trained on them: the loss on other images may exceed max_drop",)
