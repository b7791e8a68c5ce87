"""The inputs that activations are calibrated on: which training samples, and what is stated of them."""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kdbench.data.dataset import Split
from kdbench.data.selection import key_of, words
from kdbench.errors import InputError
from kdbench.results.cards import CalibrationSet
from kdbench.validation import Value, WrongValueError

_STREAM = 0x63616C69  # of random words: no other choice of samples shares it
DEFAULT_COUNT = 256


class CalibrationChoice(Value):
    """Which samples of the training part to calibrate on: `count` random ones, drawn with `seed`."""

    count: int = DEFAULT_COUNT
    seed: int = 0

    def model_post_init(self, _: Any) -> None:
        """Refuse numbers that choose nothing."""
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

        `multiple` is the batch of a model that takes no other. Raises InputError where there are too few samples, or
        the count is no multiple of that batch.
        """
        self.require_enough(len(training))
        if multiple and self.count % multiple:
            message = f"the model takes batches of {multiple}, and {self.count} calibration samples fill no whole ones"
            raise InputError(message, _hint(-(-self.count // multiple) * multiple))
        order = np.argsort(words(key_of(self.seed, _STREAM), training.samples), kind="stable")
        return training.subset(np.sort(order[: self.count]))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Inputs (N, …) as a model takes them, prepared from the training samples that `known` states."""

    inputs: NDArray[Any]
    known: CalibrationSet

    @classmethod
    def of(cls, inputs: NDArray[Any], samples: Split, choice: CalibrationChoice, data: str) -> Self:
        """Return `inputs`, prepared from `samples` of the set called `data`, with what is stated of them."""
        known = CalibrationSet(data=data, count=len(samples), seed=choice.seed, sha256=samples_sha256(samples.inputs))
        return cls(inputs, known)


def _hint(count: int) -> str:
    return f"--calibration-count {count}, in a recipe calibration_count = {count}"


def samples_sha256(samples: NDArray[Any]) -> str:
    """Return the SHA-256 of samples (N, …) as the data set holds them: their type, shape and values, in order."""
    digest = hashlib.sha256(f"{samples.dtype} {samples.shape}".encode())
    digest.update(np.ascontiguousarray(samples).tobytes())
    return digest.hexdigest()
