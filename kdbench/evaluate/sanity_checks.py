"""The probable cause of a low accuracy: wrong preprocessing, a wrong order of classes, an output that is no logit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics, units
from kdbench.evaluate.predictions import Predictions
from kdbench.results.cards import ModelCard
from kdbench.results.records import Diagnostic

_CHANCE = 1.5  # times the accuracy of always predicting the most frequent class
_CLEARLY_MORE = 3.0  # times the accuracy as the outputs are read
_BEFORE = "with its classes shifted by +1: the model may have a class before them, such as a background"
_AFTER = "with its classes shifted by -1: the model may have no output for the first class"
_REVERSED = "with its classes in reverse order"
_TEXT_ORDER = "with its classes in the order of their names as text, such as 1, 10, 2"
_SORT = "torchvision's ImageFolder sorts folders so: give the names in that order with --labels FILE"
_NEGATED = "by its smallest values: they may be distances, or negative logarithms of probabilities"
_NAMES = "give the names of its outputs in their order with --labels FILE"
_NO_LOGITS = (
    "check its preprocessing, and that its output holds logits or probabilities: one value for two classes has to be "
    "above 0, or a probability above 0.5, for the second class"
)
_UNLEARNED = "train it longer, or with another learning rate"
_LOST = "compress it less, unless the model that it was made of predicts one class, too"
_SAMPLES_OF_CLASS = 5  # at least, on average: fewer are right in some order by chance
_LARGEST_TABLE = 1 << 24  # cells of classes by outputs
_FEW = 20  # samples for which a model may well predict one class
_DROP = 0.2  # in accuracy, from the best model to one with unknown preprocessing


@dataclass(frozen=True)
class _Reading:
    """Which samples are right, (N,), if the outputs are read in another `way`, and the warning that follows."""

    right: NDArray[np.bool_]
    code: str
    way: str
    remedy: str


def sanity_warnings(
    models: Sequence[Predictions], labels: NDArray[np.int64], class_names: Sequence[str] = ()
) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each model whose accuracy on `labels` (N,) is at chance level, or far below another's.

    For a model at chance level it tries the classes shifted by one (an additional output for the background, or labels
    that count from 1, shift them), the classes in reverse order, and the smallest value in place of the largest. For
    `class_names` that are numbers it tries their order as text, whose first classes are right in both orders. At last
    it looks for any other order, in which each class has an output of its own that most of its samples get.

    A model that predicts one class for all samples may return something else than logits; one that kdbench trained has
    not learned the others, and a compressed one may have lost them. A drop is suspicious only if kdbench did not make
    the model and its preprocessing is in no file.
    """
    best = max((float(model.correct.mean()) for model in models), default=0.0)
    for model in models:
        accuracy = float(model.correct.mean())
        readings = [*_in_order_of_text(model, labels, class_names)]
        if accuracy <= _CHANCE * _constant_share(labels):
            readings += _other_readings(model, labels)
        better = _clearly_better(model, labels, readings) or _clearly_better(model, labels, [*_permuted(model, labels)])
        if better is not None:
            yield better
            continue
        if len(labels) >= _FEW and np.ptp(labels) and not np.ptp(model.predicted):
            yield Diagnostic(
                code="one_class",
                message=f"it predicts class {model.predicted[0]} for all {len(labels):,} samples",
                remedy=_of_one_class(model.card),
                model=model.id,
            )
        preprocessing = model.card.preprocessing
        known = preprocessing is not None and (preprocessing.sources or preprocessing.data_layout is not None)
        if not known and not model.card.made_by_kdbench and best - accuracy >= _DROP:
            yield Diagnostic(
                code="unknown_preprocessing",
                message=f"top-1 is {units.share(accuracy)}, far below {units.share(best)}, and its preprocessing is "
                "unknown: pixels were divided by 255",
                remedy=f"give its preprocessing, for example --mean {model.id}=… --std {model.id}=…, or --scale "
                f"{model.id}=1 for pixels of 0 to 255, or --channel-order {model.id}=BGR",
                model=model.id,
            )


def _of_one_class(card: ModelCard) -> str:
    if card.variant is not None:
        return _LOST
    return _UNLEARNED if card.training is not None else _NO_LOGITS


def _in_order_of_text(model: Predictions, labels: NDArray[np.int64], class_names: Sequence[str]) -> Iterator[_Reading]:
    """Yield the reading of outputs in the order of the classes' names as text, for names that are all numbers."""
    by_text = sorted(range(len(class_names)), key=lambda number: class_names[number])
    if len(class_names) != model.classes or not all(map(str.isdecimal, class_names)):
        return
    outputs = np.argsort(by_text)  # of each class
    if (outputs != np.arange(len(outputs))).any():
        yield _Reading(model.predicted == outputs[labels], code="text_order", way=_TEXT_ORDER, remedy=_SORT)


def _permuted(model: Predictions, labels: NDArray[np.int64]) -> Iterator[_Reading]:
    """Yield the reading in which each class has the output that most of its samples get, if no two share one."""
    classes, place = np.unique(labels, return_inverse=True)
    if len(classes) < 2 or len(labels) < _SAMPLES_OF_CLASS * len(classes):
        return
    if len(classes) * model.classes > _LARGEST_TABLE:
        return
    cells = np.bincount(place * model.classes + model.predicted, minlength=len(classes) * model.classes)
    outputs = cells.reshape(len(classes), model.classes).argmax(axis=1)
    right = model.predicted == outputs[place]
    if len(np.unique(outputs)) < len(outputs) or 2 * right.sum() < len(labels):
        return
    moved = int(np.flatnonzero(outputs != classes)[0]) if (outputs != classes).any() else 0
    way = f"with its classes in another order, such as output {outputs[moved]} for class {classes[moved]}"
    yield _Reading(right, code="class_order", way=way, remedy=_NAMES)


def _other_readings(model: Predictions, labels: NDArray[np.int64]) -> list[_Reading]:
    predicted, last = model.predicted, model.classes - 1
    readings = [
        _Reading(predicted == labels + 1, code="shifted_classes", way=_BEFORE, remedy=_NAMES),
        _Reading(predicted == labels - 1, code="shifted_classes", way=_AFTER, remedy=_NAMES),
        _Reading(predicted == last - labels, code="reversed_classes", way=_REVERSED, remedy=_NAMES),
    ]
    if model.depth is None:  # a value for each class
        negated = model.logits.argmin(axis=1) == labels
        readings.append(_Reading(negated, code="negated_scores", way=_NEGATED, remedy="export their negatives"))
    return readings


def _clearly_better(model: Predictions, labels: NDArray[np.int64], readings: Sequence[_Reading]) -> Diagnostic | None:
    """Describe the reading of the outputs by which the model is most accurate, if it is clearly more accurate then.

    A few samples show that of no model: the interval of the higher accuracy has to lie above the limit.
    """
    if not readings:
        return None
    accuracy, constant = float(model.correct.mean()), _constant_share(labels)
    best = max(readings, key=lambda reading: int(reading.right.sum()))
    share = statistics.binomial_share(int(best.right.sum()), len(labels))
    assert share.low is not None
    if share.low <= max(min(_CHANCE * constant, (1 + constant) / 2), _CLEARLY_MORE * accuracy):
        return None
    message = f"top-1 is {units.share(accuracy)}, but {units.share(share.value)} {best.way}"
    return Diagnostic(code=best.code, message=message, remedy=best.remedy, model=model.id)


def _constant_share(labels: NDArray[np.int64]) -> float:
    """Return the share of the most frequent label."""
    return float(np.bincount(labels).max() / len(labels))
