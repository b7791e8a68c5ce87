"""Pixels and their normalisation: whether mean and standard deviation are of the values that `scale` gives."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import InputError
from kdbench.results.preprocessing import Preprocessing

# In units of the largest scaled pixel, far from those of known networks: EfficientNet's offset makes a mean of 0.75.
_LARGEST_MEAN, _LARGEST_STD = 4.0, 20.0
_SMALLEST_STD = 1 / 256
_NORMALISATION = ("scale", "mean", "std")
_OWN = "its card"  # kdbench fitted these constants itself


def brightest(inputs: NDArray[Any]) -> float | None:
    """Return the largest pixel of images in units of uint8, or of floats from 0 to 1; None for other inputs.

    Rows of features are no images.
    """
    if inputs.ndim != 4 or inputs.shape[1:3] == (1, 1) or inputs.min() < 0:
        return None
    largest = float(inputs.max())
    if inputs.dtype == np.uint8:
        return largest
    return 255 * largest if largest <= 1 else None


def require_of_scaled_pixels(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise InputError for constants of pixels from 0 to 255: those of a recipe are of pixels from 0 to 1."""
    if (key := _too_large(mean, std, 1)) is not None:
        values = mean if key == "mean" else std
        value = max(values, key=abs)
        message = f"data.{key}: {value:g} is not of pixels from 0 to 1, to which 8-bit images are scaled first"
        raise InputError(message, f"divide it by 255: data.{key} = {[float(f'{v / 255:.4g}') for v in values]}")


def _too_large(mean: Sequence[float], std: Sequence[float], largest: float) -> Literal["mean", "std"] | None:
    """Return which of the two cannot be that of pixels up to `largest`; None if both can."""
    if max(map(abs, mean)) > _LARGEST_MEAN * largest:
        return "mean"
    return "std" if max(std) > _LARGEST_STD * largest else None


def require_one_unit(id_: str, preprocessing: Preprocessing, inputs: NDArray[Any], option: str) -> None:
    """Raise InputError if the mean or std of the model `id_` cannot be those of the pixels of `inputs` after scaling.

    A mean of 123.7 is of pixels from 0 to 255, and a standard deviation of 0.229 of pixels from 0 to 1. With the scale
    of the other ones, all inputs would be nearly equal, or far too large. `option` is how its scale is given.

        images = np.full((1, 3, 8, 8), 255, np.uint8)
        require_one_unit("student", Preprocessing(mean=(0.485,), std=(0.229,)), images, "--scale student=")
    """
    sources = {preprocessing.sources.get(key) for key in _NORMALISATION} - {None}
    pixel = None if preprocessing.data_layout is not None or not sources or _OWN in sources else brightest(inputs)
    if not pixel:
        return
    scale, largest = preprocessing.scale, pixel / preprocessing.scale
    narrowest = min(preprocessing.std)
    scaled = f"pixels up to {pixel:g} that are divided by {scale:g} reach {largest:g}"
    if (key := _too_large(preprocessing.mean, preprocessing.std, largest)) is not None:
        mean, std = max(preprocessing.mean, key=abs), max(preprocessing.std)
        fault = f"a mean of {mean:g}" if key == "mean" else f"a standard deviation of {std:g}"
        hint = f"{option}1 if mean and standard deviation are those of pixels from 0 to 255"
        raise InputError(f"{id_}: {scaled}, and {fault} is none of theirs", hint)
    if narrowest < _SMALLEST_STD * largest:
        hint = f"{option}255 if mean and standard deviation are those of pixels from 0 to 1"
        if scale < 1:
            hint = f"the scale is a divisor: {option}{1 / scale:.6g} multiplies pixels by {scale:g}"
        raise InputError(f"{id_}: {scaled}, and a standard deviation of {narrowest:g} is none of theirs", hint)
