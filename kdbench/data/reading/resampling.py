"""Interpolation without antialiasing: each new pixel depends on the nearest old ones only, as in torch's `interpolate`.

Pillow always antialiases when it shrinks an image. The formulas are those of PyTorch's `interpolate` with
`align_corners=False`, and of OpenCV's `INTER_LINEAR` and `INTER_CUBIC`: pixel centres are at halves, the cubic kernel
has a = -0.75.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import InputError

_A = -0.75


def resampled(pixels: NDArray[Any], height: int, width: int, interpolation: str) -> NDArray[Any]:
    """Return `pixels` (H, W) or (H, W, C) at another size, of the same type; integers are rounded to the nearest.

    Raises InputError for an interpolation other than bilinear and bicubic.
    """
    if interpolation not in {"bilinear", "bicubic"}:
        hint = "choose bilinear or bicubic, or leave antialias on"
        raise InputError(f"interpolation {interpolation!r} always smooths", hint)
    vertical = _matrix(pixels.shape[0], height, interpolation)
    horizontal = _matrix(pixels.shape[1], width, interpolation)
    values: NDArray[Any] = np.einsum(
        "yh,hwc,xw->yxc", vertical, pixels.reshape(*pixels.shape[:2], -1), horizontal, optimize=True
    )
    values = values.reshape(height, width, *pixels.shape[2:])
    if np.issubdtype(pixels.dtype, np.integer):
        limits = np.iinfo(pixels.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(pixels.dtype)


def _matrix(old: int, new: int, interpolation: str) -> NDArray[np.float64]:
    """Return the weights (new, old) of the old pixels in each new pixel along one axis; border pixels are repeated."""
    position = (np.arange(new) + 0.5) * old / new - 0.5
    if interpolation == "bilinear":
        position = np.maximum(position, 0)
    first = np.floor(position).astype(np.int64)
    distance = position - first
    if interpolation == "bilinear":
        taps = {0: 1 - distance, 1: distance}
    else:
        taps = {-1: _far(1 + distance), 0: _near(distance), 1: _near(1 - distance), 2: _far(2 - distance)}
    weights = np.zeros((new, old))
    for offset, weight in taps.items():
        np.add.at(weights, (np.arange(new), np.clip(first + offset, 0, old - 1)), weight)
    return weights


def _near(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return ((_A + 2) * x - (_A + 3)) * x * x + 1


def _far(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
