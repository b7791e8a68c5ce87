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

_LEARNED = 0.98  # of samples that a model was trained on it gets this share right, if it was trained long enough

Run = Callable[[NDArray[Any]], NDArray[Any]]
"""From inputs (n, …), as a model takes them, to its answers (n, …)."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Labelled samples to judge a file on; `known` states which.

    `correct` runs a model over them and returns whether each label ranks first, (N,). It raises InputError for answers
    that are not finite. `seen` says that the model may have been trained on them.
    """

    correct: Callable[[Run], NDArray[np.bool_]]
    known: CalibrationSet
    seen: bool = False

    def of(self, model: "onnx.ModelProto", fed: str, answer: str) -> NDArray[np.bool_]:
        """Return for which samples `model`, of the input `fed` and the output `answer`, ranks the label first.

        Quantized layers compute in floating point, the same on every CPU.
        """
        observer = Observer(model, [answer], simulated=True, fed=fed)
        return self.correct(lambda inputs: observer(inputs)[answer])


@dataclass(frozen=True)
class Loss:
    """A variant's loss against its source on `samples` samples: `lost` turn from right to wrong, `gained` back.

    `correct` counts those that the source gets right.
    """

    samples: int
    correct: int
    lost: int
    gained: int

    @classmethod
    def between(cls, source: NDArray[np.bool_], variant: NDArray[np.bool_]) -> "Loss":
        """Return the loss from `source` to `variant`: which samples each gets right, (N,)."""
        lost, gained = int((source & ~variant).sum()), int((variant & ~source).sum())
        return cls(len(source), int(source.sum()), lost, gained)

    @property
    def source_top1(self) -> float:
        """The share of samples that the source gets right."""
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
    """Return what a user should know of samples that a model of this accuracy may have `seen` in its training."""
    if not seen or source_top1 < _LEARNED:
        return ()
    line = f"the model gets {share(source_top1)} of the held-out training images right and was probably"
    return (f"{line} trained on them: other images may lose more than max_drop",)
