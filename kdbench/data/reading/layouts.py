"""Reading arrays by layout: the meaning of their axes, and their values as uint8 pixels, float32 numbers or token ids.

Without a layout an array is read as pixels by `as_images`, unless its shape or range allows only one other layout
(`certain_layout`).
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt

from kdbench.data.dataset import Images, Inputs
from kdbench.errors import InputError
from kdbench.results.preprocessing import DataLayout

Array = npt.NDArray[np.generic]

FORMS: dict[str, str] = {
    "NCHW": "(N, channels, height, width)",
    "NHWC": "(N, height, width, channels)",
    "NCL": "(N, channels, length)",
    "NCDHW": "(N, channels, depth, height, width)",
    "vectors": "(N, features)",
    "sequences": "(N, steps, features)",
    "tokens": "(N, steps) whole numbers",
}
"""The shape of the arrays of each layout."""

_CHANNELS = {1, 3, 4}
_ROUNDING = 0.01  # of a standard deviation
_IMAGE_HINT = "save images as (N,H,W), (N,H,W,C) or (N,C,H,W) with 1, 3 or 4 channels"
_OTHER_HINT = f"for other data, set data.layout: {', '.join(FORMS)}"


def channel_axis_of(layout: str) -> int:
    """Return the axis of a data set's inputs in that layout whose indices each have a mean and standard deviation."""
    return 2 if layout == "sequences" else 1


def as_inputs(array: Array, layout: str, what: str) -> Inputs:
    """Return `array` of a layout as C-contiguous inputs; images (N, C, H, W) of uint8 stay so, NHWC is transposed.

    Other numbers become float32, tokens int64. Raises InputError, with `what` as the array's name, for a wrong number
    of axes, values that are not numbers, and tokens that are not whole numbers from 0.
    """
    if layout not in FORMS:
        raise InputError(f"{what} cannot be read as {layout!r}", f"name the layout of its axes: {', '.join(FORMS)}")
    dimensions = FORMS[layout].count(",") + 1
    if array.size == 0:
        raise InputError(
            f"{what} is empty: its shape is {array.shape}", "give at least one sample of a part that is used"
        )
    if array.ndim != dimensions:
        message = f"{what} has shape {array.shape}, and data.layout {layout!r} is {FORMS[layout]}"
        fitting = [name for name, form in FORMS.items() if form.count(",") + 1 == array.ndim]
        hint = f"reshape it, or set data.layout to {' or '.join(fitting)}" if fitting else "reshape it"
        raise InputError(message, hint)
    if layout == "tokens":
        return np.ascontiguousarray(as_tokens(array, what))
    if layout == "NHWC":
        array = array.transpose(0, 3, 1, 2)
    if array.dtype == np.uint8 and layout in {"NCHW", "NHWC"}:
        return np.ascontiguousarray(array)
    numbers = as_float32(array, what)
    _require_digits(array, numbers, channel_axis_of(layout), what)
    return np.ascontiguousarray(numbers)


def as_float32(array: Array, what: str) -> npt.NDArray[np.float32]:
    """Return numbers as float32; raises InputError, with `what` as their name, for other values, NaN and infinity."""
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what} is {array.dtype}", "save numbers: float32, float64 or whole numbers")
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32, copy=False)
    if not np.isfinite(numbers).all():
        unusable = "NaN or infinity" if not np.isfinite(array).all() else "numbers beyond the range of float32"
        raise InputError(f"{what} holds {unusable}", "remove these samples, or fill in the missing values")
    return numbers


def _require_digits(array: Array, numbers: npt.NDArray[np.float32], channel_axis: int, what: str) -> None:
    """Raise InputError if float32 is too coarse for the variation of a channel, such as seconds since 1970.

    The limit is a rounding error (RMS) of 1 % of the channel's standard deviation.
    """
    if np.can_cast(array.dtype, np.float32, "safe"):
        return
    axes = tuple(axis for axis in range(array.ndim) if axis != channel_axis)
    exact = array.astype(np.float64, copy=False)
    rounding = np.sqrt(np.mean((exact - numbers) ** 2, axis=axes))
    # By minimum and maximum: the rounded mean of equal numbers may differ from the number.
    lost = (rounding > _ROUNDING * exact.std(axis=axes)) & (exact.min(axis=axes) < exact.max(axis=axes))
    if lost.any():
        channel = int(lost.argmax())
        low, high = (float(end(exact.take(channel, channel_axis))) for end in (np.min, np.max))
        message = f"{what} holds numbers from {low:.12g} to {high:.12g} in channel {channel}, which float32 rounds away"
        raise InputError(message, "subtract their mean, and divide by their standard deviation, before saving them")


def as_tokens(array: Array, what: str) -> npt.NDArray[np.int64]:
    """Return token ids as int64; raises InputError, with `what` as their name, unless they are whole numbers from 0."""
    if array.dtype.kind not in "iu":
        hint = "save token ids as integers; for numbers (N, features) set data.layout to vectors"
        raise InputError(f"{what} is {array.dtype}, and tokens are whole numbers", hint)
    if int(array.max()) > np.iinfo(np.int32).max:
        raise InputError(f"{what} holds the token {int(array.max())}", "number the tokens from 0, without gaps")
    if int(array.min()) < 0:
        raise InputError(f"{what} holds the token {int(array.min())}", "number the tokens from 0, padding included")
    return array.astype(np.int64, copy=False)


def certain_layout(arrays: Sequence[Array], *, floats: bool = False) -> str | None:
    """Return the only layout that the arrays of a data set's parts can have; None to read them as pixels.

    A matrix with floats outside 0–1 is vectors. Arrays of four axes are images if two equal axes can be height and
    width, or if they hold floats outside 0–1 and only one axis can be that of 1, 3 or 4 channels. With `floats`, for
    scoring, only shapes and types are considered, and a matrix of integers is tokens: the model defines its input.
    """
    first = arrays[0]
    if any(array.ndim != first.ndim for array in arrays) or any(array.size == 0 for array in arrays):
        return None
    floating = all(array.dtype.kind == "f" for array in arrays)
    if first.ndim == 4 and (floating or all(array.dtype == np.uint8 for array in arrays)):
        named = first.shape[1] in _CHANNELS, first.shape[3] in _CHANNELS
        if not any(named):
            return _square(first.shape)
        if floating and not floats and _beyond_pixels(arrays) and named[0] != named[1]:
            return "NCHW" if named[0] else "NHWC"
    if first.ndim == 2:
        if floats and all(array.dtype.kind in "iu" and array.dtype != np.uint8 for array in arrays):
            return "tokens"
        if floating and not floats and _beyond_pixels(arrays):
            return "vectors"
    return None


def _square(shape: tuple[int, ...]) -> str | None:
    """Return the layout in which the two equal axes are height and width."""
    _, first, second, third = shape
    if second == third != first:
        return "NCHW"
    return "NHWC" if first == second != third else None


def _beyond_pixels(arrays: Sequence[Array]) -> bool:
    """Return whether any number is outside 0–1; NaN does not count."""
    return any(bool((array < 0).any() or (array > 1).any()) for array in arrays)  # type: ignore[operator]


def as_images(array: Array, what: str, *, floats: bool = False) -> Images:
    """Return `array` as (N, C, H, W) uint8, or as float32 if it holds floats and `floats` is True.

    Raises InputError, with `what` as its name, if layout or range are ambiguous.
    """
    if array.ndim not in {2, 3, 4} or array.size == 0:
        raise InputError(f"{what} has shape {array.shape}", f"{_IMAGE_HINT}; {_OTHER_HINT}")
    if array.ndim < 4:
        array = array.reshape(len(array), 1, *((1,) if array.ndim == 2 else ()), *array.shape[1:])
    else:
        first, last = array.shape[1] in _CHANNELS, array.shape[3] in _CHANNELS
        if first == last:
            reading = "could be (N,C,H,W) or (N,H,W,C)" if first else "has no axis of 1, 3 or 4 channels"
            hint = f"set data.layout to NCHW or NHWC, or {_IMAGE_HINT}"
            raise InputError(f"{what} has shape {array.shape}, which {reading}", hint)
        if last:
            array = array.transpose(0, 3, 1, 2)
    keep = floats and np.issubdtype(array.dtype, np.floating)
    return np.ascontiguousarray(as_float32(array, what) if keep else _as_uint8(array, what))


def _as_uint8(array: Array, what: str) -> Images:
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if not np.issubdtype(array.dtype, np.floating):
        hint = f"give uint8 from 0 to 255, or floats from 0 to 1; {_OTHER_HINT}"
        raise InputError(f"{what} is {array.dtype}", hint)
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # NaN compares false
        message = f"{what} holds floats from {low:g} to {high:g}"
        raise InputError(message, f"scale images to 0–1, before any mean and std; {_OTHER_HINT}")
    result = np.empty(array.shape, dtype=np.uint8)
    for target, image in zip(result, array.astype(np.float32, copy=False), strict=True):
        target[...] = np.rint(image * np.float32(255))
    return result


assert set(FORMS) | {"array"} == set(get_args(DataLayout)), "every layout has a form"
