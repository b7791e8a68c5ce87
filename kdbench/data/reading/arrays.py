"""A data set from plain arrays: those of an archive, or what a loader returns in place of a `Dataset`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kdbench.data.dataset import Dataset, Inputs, Part, Request, Split
from kdbench.data.reading.images import fit_images
from kdbench.data.reading.labels import NUMBER_TEXTS, class_names, labels_or_targets, target_names
from kdbench.data.reading.layouts import as_images, as_inputs, certain_layout, channel_axis_of
from kdbench.errors import DataMissingError, InputError

Array = npt.NDArray[np.generic]

KEYS: dict[Part, tuple[tuple[str, str], ...]] = {
    "train": (("x_train", "y_train"), ("X_train", "y_train")),
    "test": (("x_test", "y_test"), ("X_test", "y_test"), ("images", "labels"), ("x", "y"), ("X", "y")),
}
"""The names of inputs and labels of each part; the first pair that exists is used."""
NAMES = {"class_names", "target_names"}
"""Arrays of text: names of the classes, or of a regression's targets."""

_RETURN = "return a kdbench Dataset, a dict of x_train, y_train, x_test and y_test, or these four arrays in this order"

_SAVE = "add them with numpy.savez(path, x_train=…, y_train=…, x_test=…, y_test=…)"
_NUMBERS = "return numpy arrays of numbers with one row per sample"
_TEXTS = 'return a list of texts, such as ["cat", "dog"]'


def dataset_from_arrays(arrays: Any, request: Request, *, where: str = "", source: str = "") -> Dataset:
    """Return the data set of plain `arrays`: a mapping by the names in `KEYS`, or (x_train, y_train, x_test, y_test).

    Two pairs, ((x_train, y_train), (x_test, y_test)), are the same. A mapping may hold `class_names`, or `target_names`
    of a regression, whose labels are floats. Arrays are read in the layout that `request` names, or as pixels. Mean and
    standard deviation are left out: they are fitted to the samples that are trained on. `where` names the arrays in
    messages, `source` is their origin.

        dataset_from_arrays({"x_test": x, "y_test": y}, Request("mine", parts=("test",), layout="sequences"))

    Raises InputError for arrays that have another form, DataMissingError for a part that is missing.
    """
    where = where or f"the data set {request.name!r}"
    named = _named(arrays, where)
    keys: dict[Part, tuple[str, str]] = {}
    for part, candidates in KEYS.items():
        if pair := next((names for names in candidates if names[0] in named), None):
            keys[part] = pair
    for part in request.parts:
        if part not in keys:
            needed = " or ".join(f"{x} and {y}" for x, y in KEYS[part])
            message = f"{where} has no {part} part: it needs {needed}, and holds {', '.join(named) or 'nothing'}"
            raise DataMissingError(message, _SAVE if source else _RETURN)
    pairs = {part: keys[part] for part in request.parts}
    layout = request.layout
    if layout == "auto":
        layout = certain_layout([named[x] for x, _ in pairs.values()], floats=request.floats) or "auto"
    splits = {part: _split(named, x, y, where, request, layout) for part, (x, y) in pairs.items()}
    labels = [labels_or_targets(named[y], f"{y} of {where}") for _, y in keys.values() if y in named]
    inputs = next(iter(splits.values())).inputs
    fitted = (
        "" if "train" not in splits or inputs.dtype == np.int64 else "; mean and std are fitted to what is trained on"
    )
    numbers = any(values.dtype == np.float32 for values in labels)
    names = target_names(named, labels, where) if numbers else class_names(named.get("class_names"), labels, where)
    parts, inferred = (splits.get("train"), splits.get("test")), "class_names" not in named
    options: dict[str, Any] = {"inferred_classes": inferred, "channel_axis": channel_axis_of(layout)}
    options["stored_layout"] = None if layout == "auto" else layout
    return Dataset(request.name, names, *parts, (), (), f"{source or where}{fitted}", **options)


def _named(arrays: Any, where: str) -> dict[str, Array]:
    """Return plain arrays by name; raises InputError for another form."""
    if isinstance(arrays, Mapping):
        named = {str(key): value for key, value in arrays.items()}
    elif isinstance(arrays, Sequence) and len(arrays) == 4:
        named = dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays, strict=True))
    elif isinstance(arrays, Sequence) and len(arrays) == 2 and all(_is_pair(pair) for pair in arrays):
        named = dict(zip(("x_train", "y_train", "x_test", "y_test"), (*arrays[0], *arrays[1]), strict=True))
    else:
        raise InputError(f"{where} is {type(arrays).__name__}, which cannot be read as a data set", _RETURN)
    used = {key for pairs in KEYS.values() for pair in pairs for key in pair} | NAMES
    return {key: _array(value, key, where) for key, value in named.items() if key in used}


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def _array(value: Any, key: str, where: str) -> Array:
    """Return an array, a tensor on the CPU or nested lists as an array; raises InputError for Python objects."""
    what = f"{key} of {where}"
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        message = f"{what} is a masked array, some of whose values are missing"
        raise InputError(message, "remove these samples, or fill in the missing values: array.filled(…)")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors on a device or with gradients
        raise InputError(f"{what} is not an array: {error}", "return numpy arrays with one row per sample") from error
    if array.dtype.kind == "O" and key in NAMES and all(isinstance(name, str) for name in array.flat):
        return array.astype(str)  # as numpy.unique returns the names in a column of pandas
    if array.dtype.kind == "O":
        hint = _TEXTS if key in NAMES else NUMBER_TEXTS if key.startswith(("y", "labels")) else _NUMBERS
        raise InputError(f"{what} holds Python objects", hint)
    return array


def _split(arrays: Mapping[str, Array], x: str, y: str, where: str, request: Request, layout: str) -> Split:
    if y not in arrays:
        raise InputError(f"{where} holds {x} but not {y}", f"add the labels as {y}")
    what = f"{x} of {where}"
    if layout == "auto":
        inputs: Inputs = as_images(arrays[x], what, floats=request.floats)
    else:
        inputs = as_inputs(arrays[x], layout, what)
    labels = labels_or_targets(arrays[y], f"{y} of {where}")
    if len(inputs) != len(labels):
        raise InputError(f"{where} holds {len(inputs)} samples in {x} but {len(labels)} labels in {y}", "align the two")
    if layout in {"auto", "NCHW", "NHWC"}:
        inputs = fit_images(inputs, request.geometry)
    elif request.geometry.resize is not None or request.geometry.crop is not None:
        message = f"{what} is {layout}, but data.resize and data.crop apply only to images"
        raise InputError(message, "leave data.resize and data.crop out")
    return Split(inputs, labels)
