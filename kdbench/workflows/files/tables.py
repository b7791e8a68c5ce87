"""Rows of floats, such as features: whether they count as pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.results.preprocessing import Preprocessing
from kdbench.results.records import Diagnostic


def is_table(inputs: NDArray[Any]) -> bool:
    """Return whether inputs are rows of floats that are no pixels: neither from 0 to 1, nor whole numbers to 255."""
    if not _are_rows(inputs):
        return False
    low, high = float(inputs.min()), float(inputs.max())
    return low < 0 or high > 255 or (high > 1 and bool((inputs != np.rint(inputs)).any()))


def scaled_features(id_: str, preprocessing: Preprocessing, inputs: NDArray[Any]) -> tuple[Diagnostic, ...]:
    """Return a diagnostic if the option `--scale 1` multiplies rows of floats from 0 to 1, which count as pixels."""
    by_option = preprocessing.scale == 1 and preprocessing.sources.get("scale", "").startswith("options")
    if not by_option or not _are_rows(inputs) or inputs.min() < 0 or inputs.max() > 1:
        return ()
    message = "features from 0 to 1 count as pixels, and with scale 1 they are fed as 0 to 255"
    remedy = f"if it takes the features as they are, leave out --scale, or give --scale {id_}=255"
    return (Diagnostic(code="scaled_features", message=message, remedy=remedy, model=id_),)


def _are_rows(inputs: NDArray[Any]) -> bool:
    return inputs.dtype == np.float32 and inputs.ndim == 4 and inputs.shape[1:3] == (1, 1)
