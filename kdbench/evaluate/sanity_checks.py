"""The probable cause of a low accuracy: a wrong order of classes, or wrong preprocessing."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kdbench.evaluate.predictions import Predictions
from kdbench.results.records import Diagnostic

_CHANCE = 1.5  # times the accuracy of always predicting the most frequent class
_CLEARLY_MORE = 3.0  # times the accuracy without a shift
_DROP = 0.2  # in accuracy, from the best model to one with unknown preprocessing


def sanity_warnings(models: Sequence[Predictions], labels: NDArray[np.int64]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each model whose accuracy on `labels` (N,) is at chance level, or far below another's.

    For a model at chance level it tries the classes shifted by one: an additional output for the background, or labels
    that count from 1, cause such a shift. A drop is suspicious only if kdbench did not make the model and its
    preprocessing is in no file.
    """
    best = max((float(model.correct.mean()) for model in models), default=0.0)
    for model in models:
        accuracy = float(model.correct.mean())
        shifted = _shift(model, labels) if accuracy <= _CHANCE * _constant_share(labels) else None
        if shifted is not None:
            shift, share = shifted
            more = "a class before them, such as a background" if shift > 0 else "no output for the first class"
            yield Diagnostic(
                code="shifted_classes",
                message=f"top-1 is {_percent(accuracy)}, but {_percent(share)} with its classes shifted by {shift:+d}: "
                f"the model may have {more}",
                remedy="give the names of its outputs in their order with --labels FILE",
                model=model.id,
            )
            continue
        preprocessing = model.card.preprocessing
        known = preprocessing is not None and (preprocessing.sources or preprocessing.data_layout is not None)
        if not known and not model.card.made_by_kdbench and best - accuracy >= _DROP:
            yield Diagnostic(
                code="unknown_preprocessing",
                message=f"top-1 is {_percent(accuracy)}, far below {_percent(best)}, and its preprocessing is "
                "unknown: pixels were divided by 255",
                remedy=f"give its preprocessing, for example --mean {model.id}=… --std {model.id}=…, or --scale "
                f"{model.id}=1 for pixels of 0 to 255, or --channel-order {model.id}=BGR",
                model=model.id,
            )


def _shift(model: Predictions, labels: NDArray[np.int64]) -> tuple[int, float] | None:
    """Return the shift by +1 or -1 that makes the model clearly more accurate, and that accuracy; None if none does."""
    shares = {shift: float((model.predicted == labels + shift).mean()) for shift in (1, -1)}
    shift = max(shares, key=lambda key: shares[key])
    floor = max(_CHANCE * _constant_share(labels), _CLEARLY_MORE * float(model.correct.mean()))
    return (shift, shares[shift]) if shares[shift] > floor else None


def _constant_share(labels: NDArray[np.int64]) -> float:
    """Return the share of the most frequent label."""
    return float(np.bincount(labels).max() / len(labels))


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
