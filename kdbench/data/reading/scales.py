"""Whether the parts of a data set have numbers of one scale, such as pixels from 0 to 1 in both."""

import numpy as np

from kdbench.data.dataset import Dataset, Inputs
from kdbench.errors import InputError

_FACTOR = 30.0  # pixels of 0–1 and of 0–255 are 255 apart, those of 0–255 and standardized ones about 100
_NUMBERS, _SAMPLES = 1_000_000, 16  # looked at: about so many numbers, and at least so many samples
_FEWEST = 100  # numbers with a size: few may be small by chance


def require_one_scale(dataset: Dataset) -> None:
    """Raise InputError if the numbers of one part are more than 30 times as large as those of the other.

    A model fitted to one of such parts is at chance level on the other. Token ids have no scale.

        require_one_scale(load("digits"))
    """
    if dataset.train is None or dataset.test is None or dataset.train.inputs.dtype == np.int64:
        return
    parts = dataset.train.inputs, dataset.test.inputs
    sizes = [_size(inputs) for inputs in parts]
    if min(sizes) > 0 and max(sizes) > _FACTOR * min(sizes):
        train, test = (f"from {inputs.min():g} to {inputs.max():g}" for inputs in parts)
        message = f"{dataset.name}: training inputs are {train}, test inputs {test}: the parts differ in scale"
        raise InputError(message, "prepare both in the same way, for example both divided by 255, or neither")


def _size(inputs: Inputs) -> float:
    """Return the 90th percentile of the absolute values other than 0 of evenly spaced samples; 0 if they are few.

    A quantile, because a few outliers say nothing of the scale, and without zeros, which most pixels may be.
    """
    count = min(len(inputs), max(_SAMPLES, _NUMBERS * len(inputs) // inputs.size))
    values = np.abs(inputs[np.linspace(0, len(inputs) - 1, count).astype(np.int64)])
    values = values[values > 0]
    return float(np.quantile(values, 0.9)) if values.size >= _FEWEST else 0.0
