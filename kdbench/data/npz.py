"""`npz:PATH`: a user's own arrays, in one numpy archive. Pickled content is never loaded.

The archive holds `x_train`, `y_train`, `x_test` and `y_test`, or one of the two pairs, or only a test part, as `images`
and `labels` or `x` and `y`; capital X is the same. It may hold `class_names`, an array of text. Without `class_names`
classes are numbered up to the largest label, and there may be more.

Images are (N,H,W), (N,H,W,C) or (N,C,H,W) with 1, 3 or 4 channels, or rows of features (N,F): uint8, or floats from 0
to 1. Models are scored on floats as they are, whatever their range; for training they become round(255 · x). Labels
are whole numbers from 0, (N,) or (N,1). Floats as labels are the targets of a regression, (N,) or (N,D), in their own
unit; `target_names` may name the D components.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdbench.data import DATASETS
from kdbench.data.dataset import Dataset, Images, Labels, Part, Request, Split, Targets
from kdbench.data.images import channel_statistics, fit_images
from kdbench.errors import DataMissingError, InputError

Array = npt.NDArray[np.generic]

_KEYS: dict[Part, tuple[tuple[str, str], ...]] = {
    "train": (("x_train", "y_train"), ("X_train", "y_train")),
    "test": (("x_test", "y_test"), ("X_test", "y_test"), ("images", "labels"), ("x", "y"), ("X", "y")),
}
_CHANNELS = {1, 3, 4}
_MAX_CLASSES = 100_000  # a larger label is a mistake, not a class index
# What zipfile, zlib and numpy's header parser raise on content that is cut short, scrambled, encrypted or pickled.
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, SyntaxError),
    *(LookupError, TypeError, RuntimeError, MemoryError),
)
_LAYOUT_HINT = "save images as (N,H,W), (N,H,W,C) or (N,C,H,W) with 1, 3 or 4 channels"


@DATASETS.register_pattern(r"npz:.+", example="npz:PATH")
def load_npz(request: Request) -> Dataset:
    """Load an archive; mean and std come from its training part, or from the test part if no other is requested."""
    path = Path(request.name.removeprefix("npz:")).expanduser()
    arrays = _read(path)
    keys: dict[Part, tuple[str, str]] = {}
    for part, candidates in _KEYS.items():
        if pair := next((names for names in candidates if names[0] in arrays), None):
            keys[part] = pair
    for part in request.parts:
        if part not in keys:
            needed = " or ".join(f"{x} and {y}" for x, y in _KEYS[part])
            message = f"{path} has no {part} part: it needs {needed}, and holds {', '.join(arrays) or 'nothing'}"
            raise DataMissingError(message, "add them with numpy.savez(path, x_train=…, y_train=…, x_test=…, y_test=…)")
    splits = {part: _split(arrays, *keys[part], path, request) for part in request.parts}
    labels = [labels_or_targets(arrays[y], f"{y} of {path}") for _, y in keys.values() if y in arrays]
    basis: Part = "train" if "train" in splits else "test"
    mean, std = channel_statistics(splits[basis].inputs)
    numbers = any(values.dtype == np.float32 for values in labels)
    names = _target_names(arrays, labels, path) if numbers else _class_names(arrays.get("class_names"), labels, path)
    source = f"the user's archive {path.name}; mean and std computed from its {basis} part"
    parts, inferred = (splits.get("train"), splits.get("test")), "class_names" not in arrays
    return Dataset(request.name, names, *parts, mean, std, source, inferred_classes=inferred)


def _read(path: Path) -> dict[str, Array]:
    """Return the arrays of the archive that kdbench uses; others are not unpacked."""
    used = {key for pairs in _KEYS.values() for pair in pairs for key in pair} | {"class_names", "target_names"}
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise InputError(f"{path} holds a single array", "save named arrays with numpy.savez")
        with loaded as archive:
            return {key: archive[key] for key in archive.files if key in used}
    except FileNotFoundError:
        raise DataMissingError(f"no file {path}", "check the path after npz:") from None
    except _UNREADABLE as error:
        hint = "it may be cut short or hold Python objects; write plain arrays with numpy.savez"
        raise InputError(f"{path} is not a readable .npz archive: {error}", hint) from error


def _split(arrays: dict[str, Array], x: str, y: str, path: Path, request: Request) -> Split:
    if y not in arrays:
        raise InputError(f"{path} holds {x} but not {y}", f"add the labels as {y}")
    images = as_images(arrays[x], f"{x} of {path}", floats=request.floats)
    labels = labels_or_targets(arrays[y], f"{y} of {path}")
    if len(images) != len(labels):
        raise InputError(f"{path} holds {len(images)} images in {x} but {len(labels)} labels in {y}", "align the two")
    return Split(fit_images(images, request.geometry), labels)


def as_images(array: Array, what: str, *, floats: bool = False) -> Images:
    """Return `array` as (N, C, H, W) uint8, or float32 if it holds floats and `floats` may stay.

    Raises InputError, calling it `what`, if layout or range are ambiguous.
    """
    if array.ndim not in {2, 3, 4} or array.size == 0:
        raise InputError(f"{what} has shape {array.shape}", _LAYOUT_HINT)
    if array.ndim < 4:
        array = array.reshape(len(array), 1, *((1,) if array.ndim == 2 else ()), *array.shape[1:])
    else:
        first, last = array.shape[1] in _CHANNELS, array.shape[3] in _CHANNELS
        if first == last:
            reading = "could be (N,C,H,W) or (N,H,W,C)" if first else "has no axis of 1, 3 or 4 channels"
            raise InputError(f"{what} has shape {array.shape}, which {reading}", _LAYOUT_HINT)
        if last:
            array = array.transpose(0, 3, 1, 2)
    keep = floats and np.issubdtype(array.dtype, np.floating)
    return np.ascontiguousarray(_as_float32(array, what) if keep else _as_uint8(array, what))


def _as_float32(array: Array, what: str) -> Images:
    if not np.isfinite(array).all():
        raise InputError(f"{what} holds NaN or infinity", "remove these samples")
    return array.astype(np.float32, copy=False)


def _as_uint8(array: Array, what: str) -> Images:
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{what} is {array.dtype}", "give uint8 from 0 to 255, or floats from 0 to 1")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # NaN compares false
        raise InputError(f"{what} holds floats from {low:g} to {high:g}", "scale them to 0–1, before any mean and std")
    result = np.empty(array.shape, dtype=np.uint8)
    for target, image in zip(result, array.astype(np.float32, copy=False), strict=True):
        target[...] = np.rint(image * np.float32(255))
    return result


def labels_or_targets(array: Array, what: str) -> npt.NDArray[Any]:
    """Return whole numbers as `as_labels` does, and floats as `as_targets` does; raises InputError as they do."""
    return as_targets(array, what) if np.issubdtype(array.dtype, np.floating) else as_labels(array, what)


def as_targets(array: Array, what: str) -> Targets:
    """Return floats (N,) or (N,D) as targets (N,D) float32; raises InputError, calling them `what`.

    One-hot rows are refused, because they are classes.
    """
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        targets = array.astype(np.float32)
    if targets.ndim == 1:
        targets = targets[:, None]
    if targets.ndim != 2 or not targets.size:
        hint = "save one number a sample, (N,), or one row of numbers, (N,D)"
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
    """Return `array`, (N,) or (N,1) whole numbers from 0, as (N,) int64; raises InputError, calling it `what`."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        hint = "labels are class numbers, one whole number per image; for one-hot rows use argmax(axis=1)"
        raise InputError(f"{what} has shape {array.shape} and type {array.dtype}", hint)
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < _MAX_CLASSES:
        message = f"{what} holds labels from {array.min()} to {array.max()}"
        raise InputError(message, f"number the classes from 0, below {_MAX_CLASSES}")
    return array.astype(np.int64)


def _target_names(arrays: dict[str, Array], targets: list[npt.NDArray[Any]], path: Path) -> tuple[str, ...]:
    """Return the names of the components of targets; raises InputError where the parts of the archive do not agree."""
    shapes = sorted({values.shape[1:] for values in targets}, key=len)
    if len(shapes) > 1:
        parts = "one part holds class numbers (integers), and another targets (floats), or of another number"
        raise InputError(f"{path}: {parts}", "save the labels of all parts in one form")
    if "class_names" in arrays:
        message = f"{path} holds class_names, but its labels are floats: the targets of a regression"
        raise InputError(message, "save class numbers as integers, or leave class_names out")
    (count,) = shapes[0]
    names = arrays.get("target_names")
    if names is None:
        return tuple(f"y{number}" for number in range(count)) if count > 1 else ("y",)
    if names.shape != (count,) or names.dtype.kind != "U":
        message = f"target_names of {path} has shape {names.shape} and type {names.dtype}, for {count} targets"
        raise InputError(message, "give one text per target")
    return tuple(str(name) for name in names)


def _class_names(names: Array | None, labels: list[Labels], path: Path) -> tuple[str, ...]:
    classes = 1 + max((int(values.max()) for values in labels if len(values)), default=-1)
    if names is None:
        return tuple(str(number) for number in range(classes))
    if names.ndim != 1 or names.dtype.kind != "U" or len(names) < classes:
        form = f"shape {names.shape} and type {names.dtype}"
        message = f"class_names of {path} has {form}, with labels up to {classes - 1}"
        raise InputError(message, "give one text per class")
    return tuple(str(name) for name in names)
