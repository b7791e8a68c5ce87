"""The outputs of one model for a set of labelled images, and which analyses to make of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdbench.evaluate.class_map import ClassMap
from kdbench.results.cards import ModelCard
from kdbench.results.preprocessing import Geometry
from kdbench.results.records import Axes

Std = Literal["population", "unbiased"]
"""Which standard deviation of a row of C logits: divided by C, or by C - 1 (the authors' code)."""
TRAIN: Axes = {"part": "train"}
"""The axes of measurements on training images; those on the test set have none."""

LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)
"""Smaller probabilities, and 0, count as this one: their loss would be infinite, or differ between runtimes."""

NO_LOGARITHMS = {
    "rounded_probabilities": "the output holds probabilities rounded to integers: those rounded to 0 have no logarithm",
    "scores": "the output only ranks the classes: its values are not logits",
    "class": "the output holds only the best class",
    "ranking": "the output is a ranking of the classes",
}
_PROBABILITIES = {"probabilities", "rounded_probabilities"}
_ROUNDING = 1e-3  # of float32 sums of probabilities


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log p (N, C) of `logits` (N, C), stable: the largest of each row is subtracted first."""
    largest = logits.max(axis=1, keepdims=True)
    shifted = logits - np.where(np.isfinite(largest), largest, 0.0)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


@dataclass(frozen=True, eq=False)
class Predictions:
    """Finite `logits` (N, classes) of the model `card`, and the `ranks` (N,) of the labels among them.

    `form` is what the values are: `logits`, `probabilities` of a softmax, or a key of NO_LOGARITHMS.
    `depth` is how many of the best classes the output ranks, None for all. `source` says how the model was run.
    `meanings` is what each column stands for, as in `ClassMap`; None where columns have the numbers of the classes.
    """

    card: ModelCard
    logits: NDArray[np.generic]
    ranks: NDArray[np.int64]
    source: str | None = None
    form: str = "logits"
    depth: int | None = None
    meanings: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        card: ModelCard,
        logits: NDArray[np.generic],
        labels: NDArray[np.int64],
        source: str | None = None,
        form: str = "logits",
        meanings: tuple[str, ...] | None = None,
    ) -> "Predictions":
        """Return the predictions of `card` for `labels` (N,): `logits` (N, classes), or what `form` says they are.

        The values are checked against `form`. If values are declared as logits, but each row is non-negative and sums
        to 1, they are taken as probabilities; if the rows are one-hot, only as the best class. Other values from 0 to
        1, and rows with a constant sum, only rank the classes, unless the network is a recipe's, whose loss takes them
        as logits. If values are declared as probabilities, rounded or not, but rows do not sum to 1, they only rank the
        classes.
        """
        known = [column for column, meaning in enumerate(meanings or ()) if meaning]
        read = form_by_values(form, logits[:, known] if meanings is not None and known else logits)
        if read == "scores" and form == "logits" and card.weights is not None:
            read = form
        if read == "probabilities" and form == "logits" and meanings is not None:
            logits = np.where([meaning != "" for meaning in meanings], logits, np.zeros_like(logits))
        form = read
        depth = {"class": 1, "ranking": int(logits.max())}.get(form)
        return cls(card, logits, label_ranks(logits, labels), source, form, depth, meanings)

    @property
    def without_logarithms(self) -> str | None:
        """Why there are no logarithms of class probabilities; None if there are."""
        return NO_LOGARITHMS.get(self.form)

    @property
    def without_confidences(self) -> str | None:
        """Why there are no class probabilities, rounded or not; None if there are."""
        return None if self.form in _PROBABILITIES else self.without_logarithms

    @property
    def without_top5(self) -> str | None:
        """Why it is unknown whether a label is among the five best classes; None if it is known."""
        known = self.classes if self.meanings is None else sum(meaning != "" for meaning in self.meanings)
        if known < 5:
            return f"the model has {known} classes"
        if self.depth is not None and self.depth < 5:
            return f"the output names only the best {self.depth} classes"
        return None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The best class of each sample, (N,)."""
        predicted: NDArray[np.int64] = self.logits.argmax(axis=1)
        return predicted

    @cached_property
    def confidences(self) -> NDArray[np.float64]:
        """The largest probability of each sample, float64 (N,)."""
        assert self.without_confidences is None, self.form
        values = self.logits.astype(np.float64)
        if self.form in _PROBABILITIES:
            return np.asarray(values.max(axis=1))
        return np.asarray(np.exp(log_softmax(values).max(axis=1)))

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
        return np.asarray(self.ranks == 0)

    def log_probabilities(self) -> NDArray[np.float64]:
        """Return log p, float64 (N, classes): a stable log-softmax of the logits, or the log of probabilities."""
        values = self.logits.astype(np.float64)
        assert self.without_logarithms is None, self.form
        if self.form == "probabilities":
            # Rounded ones do not quite sum to 1, and a divergence from them could be negative.
            values = values / values.sum(axis=1, keepdims=True)
            return np.asarray(np.log(np.maximum(values, LEAST_PROBABILITY)))
        return log_softmax(values)

    def of_same_classes(self, *others: "Predictions") -> bool:
        """Return whether the other models distinguish the same classes, in the same columns."""
        return all(_column_meanings(self) == _column_meanings(other) for other in others)

    def without_absent(self) -> "Predictions":
        """Return the predictions without the columns of absent classes, which no other model's can be compared with."""
        if self.meanings is None or "" not in self.meanings:
            return self
        kept = [column for column, meaning in enumerate(self.meanings) if meaning]
        meanings = tuple(self.meanings[column] for column in kept)
        return replace(self, logits=self.logits[:, kept], meanings=meanings)

    def select(self, samples: NDArray[np.bool_]) -> "Predictions":
        """Return the predictions for some of the samples, (N,)."""
        return replace(self, logits=self.logits[samples], ranks=self.ranks[samples])


def _column_meanings(predictions: Predictions) -> tuple[str, ...]:
    meanings = predictions.meanings
    return ClassMap(tuple(range(predictions.classes))).meanings if meanings is None else meanings


def label_ranks(logits: NDArray[np.generic], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes rank before each label, (N,); of equal logits the lower index ranks first, as in argmax.

    `logits` are (N, C), `labels` (N,).
    """
    of_label = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    return np.asarray((np.greater(logits, of_label) | (np.equal(logits, of_label) & earlier)).sum(axis=1))


def first_reason(reasons: Mapping[str, str | None]) -> str | None:
    """Return the first of the models' `reasons`, by id, together with the id; None if no model has one."""
    return next((f"{id_}: {reason}" for id_, reason in reasons.items() if reason is not None), None)


def not_finite(logits: NDArray[np.generic]) -> str | None:
    """Return the reason why `logits` (N, classes) are unusable if some are NaN or infinite, else None."""
    bad = int((~np.isfinite(logits.astype(np.float64))).any(axis=1).sum())
    return f"{bad} of {len(logits)} outputs hold NaN or infinity" if bad else None


def with_finite_logits(logits: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return `logits` (N, classes) with a number for each -inf: that of LEAST_PROBABILITY, or less than the others.

    The logarithm of a softmax, and classes that a network masks, may be -inf. Logits with a NaN, +inf or a row without
    a finite number stay as they are.
    """
    values = logits.astype(np.float64)
    excluded = np.isneginf(values)
    if not excluded.any() or excluded.all(axis=1).any() or not (np.isfinite(values) | excluded).all():
        return logits
    below = np.nextafter(np.where(excluded, np.inf, values).min(axis=1, keepdims=True), -np.inf)
    largest = values.max(axis=1, keepdims=True)
    of_least = np.log(LEAST_PROBABILITY) + largest - log_softmax(values).max(axis=1, keepdims=True)
    return np.where(excluded, np.minimum(below, of_least), values)


def form_by_values(form: str, values: NDArray[np.generic]) -> str:
    """Return the `form` of `values` (N, classes), corrected where the values contradict logits or probabilities."""
    numbers = values.astype(np.float64)
    if form == "rounded_probabilities":
        return form if _may_be_rounded_probabilities(numbers) else "scores"
    if form not in {"logits", "probabilities"}:
        return form
    negative, sums = bool((numbers < 0).any()), numbers.sum(axis=1)
    if form == "logits" and np.isin(numbers, (0, 1)).all() and (sums == 1).all():
        return "class"
    tolerance = 1e-2 if values.dtype.itemsize < 4 else _ROUNDING
    if not negative and np.allclose(sums, 1, rtol=0, atol=tolerance):
        return "probabilities"
    # Logits have an arbitrary offset: they are all positive, with a constant sum or a ceiling of 1, only if something
    # bounds them, such as a scaled softmax, a sigmoid written out, or votes.
    bounded = numbers.max() <= 1 or np.ptp(sums) <= tolerance * np.ptp(numbers)
    varied = bool((numbers != numbers[:1]).any())
    return "scores" if form == "probabilities" or (not negative and bounded and varied) else form


def _may_be_rounded_probabilities(numbers: NDArray[np.float64]) -> bool:
    """Return whether rows of `numbers` (N, classes) sum to 1, but for the rounding of each number to integers.

    Integers of unknown scale do not. Rows with the largest number of all, which may be the limit of the integers, may
    sum to less.
    """
    largest = numbers.max()
    if numbers.min() < 0 or not 0 < largest <= 1 + _ROUNDING:
        return False
    step = numbers[numbers > 0].min()  # or a multiple of it
    missing = 1 - numbers.sum(axis=1)
    allowed = numbers.shape[1] / 2 * step + _ROUNDING
    return bool((missing >= -allowed).all() and (missing <= allowed)[numbers.max(axis=1) < largest].all())


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """Images, or other samples, that models were trained on, without augmentation: (N, …) as in a `Split`.

    `labels` (N,), or targets (N, D), are those used in training, `true_labels` the right ones. The images `drawn` (N,)
    are a random sample of the whole training part; the others are included because their label was changed.
    `in_geometry` holds the same images in the sizes and colours that particular models take.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    true_labels: NDArray[Any]
    drawn: NDArray[np.bool_]
    in_geometry: Mapping[Geometry, NDArray[np.generic]] = field(default_factory=dict)

    @property
    def flipped(self) -> NDArray[np.bool_]:
        """Whether an image's label, a class, was changed, (N,)."""
        return np.asarray(self.labels != self.true_labels)


@dataclass(frozen=True)
class Analyses:
    """Which analyses to make.

    `class_names` are the names of all classes, if known. `training` maps a model's id to images that it was trained on;
    models that were trained on the same images share one object. `independent` maps a student's id to the id of
    the student that it is contrasted with, which was trained on the labels alone. `baselines` maps a model's id to the
    ids of those whose accuracy its own is compared with. `std` is the standard deviation that standardizes logits.
    """

    class_names: tuple[str, ...] = ()
    training: Mapping[str, TrainingImages] = field(default_factory=dict)
    independent: Mapping[str, str] = field(default_factory=dict)
    baselines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    std: Std = "population"

    def class_axis(self, label: int) -> str | int:
        """Return the name of a class, or its number if names are unknown."""
        return self.class_names[label] if label < len(self.class_names) else label
