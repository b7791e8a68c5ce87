"""Labels of plain arrays: class numbers, or floats as the targets of a regression; and their names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kdbench.data.dataset import Labels, Targets
from kdbench.errors import InputError

Array = npt.NDArray[np.generic]

# From the same names in every part: a part may lack classes.
NUMBER_TEXTS = "number the classes: class_names = numpy.unique(y_train), y = numpy.searchsorted(class_names, y)"
_MAX_CLASSES = 100_000  # a larger label is a mistake, not a class index


def labels_or_targets(array: Array, what: str) -> npt.NDArray[Any]:
    """Return integers as labels (`as_labels`) and floats as targets (`as_targets`); raises their errors."""
    return as_targets(array, what) if np.issubdtype(array.dtype, np.floating) else as_labels(array, what)


def as_targets(array: Array, what: str) -> Targets:
    """Return floats (N,) or (N,D) as targets (N,D) float32; raises InputError, with `what` as their name.

    One-hot rows are refused, because they are classes.
    """
    with np.errstate(over="ignore"):  # numbers that are too large become infinite, and are refused below
        targets = array.astype(np.float32)
    if targets.ndim == 1:
        targets = targets[:, None]
    if targets.ndim != 2 or not targets.size:
        hint = "save one number per sample, (N,), or one row of numbers per sample, (N,D)"
        raise InputError(f"{what} has shape {array.shape}", hint)
    if not np.isfinite(targets).all():
        raise InputError(
            f"{what} holds NaN, infinity, or numbers too large for float32", "remove or scale these samples"
        )
    if targets.shape[1] > 1 and np.isin(targets, (0, 1)).all() and (targets.sum(axis=1) == 1).all():
        hint = "give class numbers: argmax(axis=1), as integers"
        raise InputError(f"{what} holds one-hot rows as floats, and floats are the targets of a regression", hint)
    return targets


def as_labels(array: Array, what: str) -> Labels:
    """Return `array`, (N,) or (N,1) whole numbers from 0, as (N,) int64; raises InputError, with `what` as its name."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        hint = "labels are class numbers, one whole number per sample; for one-hot rows use argmax(axis=1)"
        hint = NUMBER_TEXTS if array.dtype.kind in "SU" else hint
        raise InputError(f"{what} has shape {array.shape} and type {array.dtype}", hint)
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < _MAX_CLASSES:
        message = f"{what} holds labels from {array.min()} to {array.max()}"
        raise InputError(message, f"number the classes from 0, below {_MAX_CLASSES}")
    return array.astype(np.int64)


def target_names(arrays: Mapping[str, Array], targets: list[npt.NDArray[Any]], where: str) -> tuple[str, ...]:
    """Return the names of the components of targets; raises InputError where the parts of the archive do not agree."""
    shapes = sorted({values.shape[1:] for values in targets}, key=len)
    if len(shapes) > 1:
        parts = (
            "one part holds class numbers (integers) and another targets (floats), or their numbers of targets differ"
        )
        raise InputError(f"{where}: {parts}", "save the labels of all parts in one form")
    if "class_names" in arrays:
        message = f"{where} holds class_names, but its labels are floats: the targets of a regression"
        raise InputError(message, "save class numbers as integers, or leave class_names out")
    (count,) = shapes[0]
    names = arrays.get("target_names")
    if names is None:
        return tuple(f"y{number}" for number in range(count)) if count > 1 else ("y",)
    if names.shape != (count,) or names.dtype.kind != "U":
        message = f"target_names of {where} has shape {names.shape} and type {names.dtype}, for {count} targets"
        raise InputError(message, "give one text per target")
    return tuple(str(name) for name in names)


def class_names(names: Array | None, labels: list[Labels], where: str) -> tuple[str, ...]:
    """Return the names of the classes, or their numbers; raises InputError, with `where`, for names that do not fit."""
    classes = 1 + max((int(values.max()) for values in labels if len(values)), default=-1)
    if names is None:
        return tuple(str(number) for number in range(classes))
    if names.ndim != 1 or names.dtype.kind != "U" or len(names) < classes:
        form = f"shape {names.shape} and type {names.dtype}"
        message = f"class_names of {where} has {form}, with labels up to {classes - 1}"
        raise InputError(message, "give one text per class")
    return tuple(str(name) for name in names)
