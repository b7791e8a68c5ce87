"""The samples for calibration, the samples held out to judge the result, and their description for the card."""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kdbench.data.dataset import Indices, Labels, Pick, Split
from kdbench.data.selection import key_of, words
from kdbench.errors import InputError
from kdbench.results.cards import CalibrationSet
from kdbench.user_input.options import CALIBRATION_COUNT
from kdbench.user_input.validation import Value, WrongValueError

_STREAM = 0x63616C69  # of random words, used only for this choice of samples


class CalibrationChoice(Value):
    """Which samples of the training part to calibrate on: `count` random ones, drawn with `seed`."""

    count: int = CALIBRATION_COUNT
    seed: int = 0

    def model_post_init(self, _: Any) -> None:
        """Raise WrongValueError for a count below 1 or a seed outside 0 to 2³² − 1."""
        if self.count < 1:
            raise WrongValueError(f"the calibration count is {self.count}", "give a number of samples, 1 or more")
        if not 0 <= self.seed < 2**32:
            raise WrongValueError(f"the calibration seed is {self.seed}", "give a number from 0 to 4294967295")

    def require_enough(self, samples: int) -> None:
        """Raise InputError if there are fewer training samples than are to be chosen."""
        if self.count > samples:
            message = f"calibration needs {self.count} training samples, and there are {samples}"
            raise InputError(message, _hint(samples))

    def of(self, training: Split, multiple: int | None = None) -> Split:
        """Return the chosen samples in the training part's order; a larger count includes a smaller one.

        `multiple` is the fixed batch of a model that has one. Raises InputError if there are too few samples, or the
        count is not a multiple of that batch.
        """
        order = self._order(training.samples)
        if multiple and self.count % multiple:
            message = (
                f"the model takes batches of {multiple}, which do not divide {self.count} calibration samples evenly"
            )
            more = -(-self.count // multiple) * multiple
            raise InputError(message, _hint(more if more <= len(order) else len(order) // multiple * multiple))
        return training.subset(np.sort(order[: self.count]))

    def held_out(self, training: Split, most: int, multiple: int | None = None) -> Split:
        """Return up to `most` samples that calibration does not use, in whole batches of `multiple`, in order.

        Raises InputError if they do not fill one.
        """
        order, hint = self._order(training.samples)[self.count :], "calibrate on fewer samples: --calibration-count"
        return _drawn(training, order, most, multiple or 1, "training", hint)

    def pick(self, held_out: int = 0) -> Pick:
        """Return the function that picks these samples and up to `held_out` more; it raises InputError for too few."""
        return lambda samples: np.sort(self._order(samples)[: self.count + held_out])

    def of_validation(self, validation: Split, most: int, multiple: int | None = None) -> Split:
        """Return up to `most` random samples of a part that calibration does not use, as `held_out` does."""
        order, hint = _random_order(self.seed, validation.samples), "make the validation part larger: data.validation"
        return _drawn(validation, order, most, multiple or 1, "validation", hint)

    def _order(self, samples: Labels) -> Indices:
        self.require_enough(len(samples))
        return _random_order(self.seed, samples)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Prepared inputs (N, …) of a model; `known` describes the training samples that they come from."""

    inputs: NDArray[Any]
    known: CalibrationSet

    @classmethod
    def of(cls, inputs: NDArray[Any], samples: Split, choice: CalibrationChoice, data: str) -> Self:
        """Return `inputs`, prepared from `samples` of the set called `data`, with the description of the samples."""
        known = CalibrationSet(data=data, count=len(samples), seed=choice.seed, sha256=samples_sha256(samples.inputs))
        return cls(inputs, known)


def _random_order(seed: int, samples: Labels) -> Indices:
    return np.argsort(words(key_of(seed, _STREAM), samples), kind="stable")


def _drawn(split: Split, order: Indices, most: int, multiple: int, part: str, hint: str) -> Split:
    """Return the first samples in `order`, up to `most` in whole batches of `multiple`, in the part's own order.

    Raises InputError if they do not fill one; `hint` is for a `part` of the data, by its name, that is too small.
    """
    if most < multiple:
        message = f"accuracy is to be measured on {most} samples, and the model takes batches of {multiple}"
        raise InputError(message, f"set held_out_count to {multiple} or more")
    count = min(most, len(order)) // multiple * multiple
    if not count:
        message = f"{len(order)} {part} samples remain to measure accuracy, and the model needs at least {multiple}"
        raise InputError(message, hint)
    return split.subset(np.sort(order[:count]))


def _hint(count: int) -> str:
    return f"--calibration-count {count}, in a recipe calibration_count = {count}"


def samples_sha256(samples: NDArray[Any]) -> str:
    """Return the SHA-256 of samples (N, …) of a data set: of their type, shape and values, in order."""
    digest = hashlib.sha256(f"{samples.dtype} {samples.shape}".encode())
    digest.update(np.ascontiguousarray(samples).tobytes())
    return digest.hexdigest()


def labelled_sha256(samples: Split) -> str:
    """Return the SHA-256 of samples and their labels."""
    labels = np.ascontiguousarray(samples.labels).tobytes()
    return hashlib.sha256(samples_sha256(samples.inputs).encode() + labels).hexdigest()
