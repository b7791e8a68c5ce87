"""The outputs of one model for a set of labelled images."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from kdbench.results.cards import ModelCard


@dataclass(frozen=True, eq=False)
class Predictions:
    """Finite `logits` (N, classes) of the model `card`, and the `ranks` (N,) of the labels among them.

    `are_probabilities` says that the model ends in a softmax; `source` says how the model was run.
    """

    card: ModelCard
    logits: NDArray[np.generic]
    ranks: NDArray[np.int64]
    source: str | None = None
    are_probabilities: bool = False

    @classmethod
    def of(
        cls, card: ModelCard, logits: NDArray[np.generic], labels: NDArray[np.int64], source: str | None = None
    ) -> "Predictions":
        """Return the predictions of `card`: `logits` (N, classes), or probabilities in their place, for `labels`."""
        return cls(card, logits, label_ranks(logits, labels), source, _are_probabilities(logits))

    @property
    def id(self) -> str:
        """The model's id."""
        return self.card.id

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.logits.shape[1])

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the label ranks first, (N,)."""
        correct: NDArray[np.bool_] = self.ranks == 0
        return correct

    def log_probabilities(self) -> NDArray[np.float64]:
        """Return log p, float64 (N, classes): a stable log-softmax of the logits, or the log of probabilities."""
        values = self.logits.astype(np.float64)
        if self.are_probabilities:
            return np.log(np.maximum(values, np.finfo(np.float32).tiny))
        log_p: NDArray[np.float64] = log_softmax(values, axis=1)
        return log_p

    def select(self, samples: NDArray[np.bool_]) -> "Predictions":
        """Return the predictions for some of the samples, (N,)."""
        return replace(self, logits=self.logits[samples], ranks=self.ranks[samples])


def label_ranks(logits: NDArray[np.generic], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes rank before each label, (N,); of equal logits the lower index is first, as in argmax."""
    of_label = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    ranks: NDArray[np.int64] = (np.greater(logits, of_label) | (np.equal(logits, of_label) & earlier)).sum(axis=1)
    return ranks


def not_finite(logits: NDArray[np.generic]) -> str | None:
    """Return why `logits` (N, classes) are no predictions, if some are NaN or infinite."""
    bad = int((~np.isfinite(logits.astype(np.float64))).any(axis=1).sum())
    return f"{bad} of {len(logits)} outputs hold NaN or infinity" if bad else None


def _are_probabilities(logits: NDArray[np.generic]) -> bool:
    tolerance = 1e-2 if logits.dtype.itemsize < 4 else 1e-3
    values = logits.astype(np.float64)
    return bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1, rtol=0, atol=tolerance))
