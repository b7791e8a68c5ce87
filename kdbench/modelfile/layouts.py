"""How samples fit the declared input of a model: as they are, transposed or flattened."""

import math
from collections.abc import Sequence
from typing import Literal

from kdbench.errors import InputError
from kdbench.modelfile.graphs.outputs import Shape

Layout = Literal["NCHW", "NHWC", "flat", "other", "array"]

CHANNELS = {1, 3, 4}
TOKENS = frozenset({"int32", "int64"})
"""The types of inputs that hold token ids, (batch, steps)."""


def layout_for(shape: Shape, data_shape: tuple[int, ...], name: str, data_layout: str = "NCHW") -> Layout:
    """Return the layout in which images (channels, height, width) fit an input of `shape` (batch first).

    Samples of another `data_layout` fit as they are, or flattened. Raises InputError, with `name` and both shapes, if
    they do not fit.
    """
    if data_layout != "NCHW":
        flat = math.prod(data_shape)
        if fits(shape[1:], data_shape) or (is_flat(shape) and fits(_without_ones(shape), (flat,))):
            return "array"
        described = f"{data_layout} of {shape_text(data_shape)}"
        message = f"{name} takes inputs of shape {shape_text(shape)}, but the samples are {described}"
        raise InputError(message, "choose the data set that the model was trained for, or another layout of the data")
    channels, height, width = data_shape
    candidates: tuple[tuple[Layout, tuple[int, ...]], ...] = (
        ("NCHW", (channels, height, width)),
        ("NHWC", (height, width, channels)),
        ("flat", (channels * height * width,)),
        ("other", (height, width) if channels == 1 else ()),
    )
    for layout, sample in candidates:
        if fits(shape[1:], sample):
            return layout
    if is_flat(shape) and fits(_without_ones(shape), (math.prod(data_shape),)):
        return "flat"
    images = f"{channels}x{height}x{width} (channels x height x width)"
    hint = "choose the data set that the model was trained for, or resize the images to its input"
    other, option = (1, "grey") if channels == 3 else (3, "RGB")
    converted = (other, height, width), (height, width, other), (other * height * width,)
    if channels in {1, 3} and any(fits(shape[1:], sample) for sample in converted):
        hint = f"convert the images: --colour {option}"
    raise InputError(f"{name} takes inputs of shape {shape_text(shape)}, but the images are {images}", hint)


def is_flat(shape: Shape) -> bool:
    """Return whether a sample is a vector: one axis, beside others of one element, such as 1x784x1."""
    return len(shape) == 2 or (len(shape) > 2 and sum(size != 1 for size in shape[1:]) == 1)


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape[1:] if size != 1)


def require_type(input_dtype: str, data_layout: str, name: str) -> None:
    """Raise InputError, with the model's `name`, for token ids where its input takes numbers, and vice versa."""
    takes_tokens = input_dtype in TOKENS
    if takes_tokens == (data_layout == "tokens"):
        return
    if takes_tokens:
        message = f"{name} takes {input_dtype} token ids, but the data holds {data_layout}"
        raise InputError(message, "choose the data that it was trained for, or read it as ids: --data-layout=tokens")
    message = f"{name} takes {input_dtype} numbers, but the data holds whole numbers, read as token ids"
    raise InputError(message, "--data-layout=vectors reads them as numbers")


def sizes_in(declared: Shape, layout: Layout, sample: tuple[int, ...]) -> Shape:
    """Return a sample's `declared` shape with the sizes that `sample`, an image (C, H, W) or numbers, gives open axes.

    `layout` is that of the model. Where the sample does not fit, sizes stay open.
    """
    laid_out: dict[Layout, tuple[int, ...]] = {"NHWC": (*sample[1:], *sample[:1]), "other": sample[1:]}
    shapes = (laid_out.get(layout, sample), sample, (math.prod(sample),))
    return next((shape for shape in shapes if fits(declared, shape)), declared)


def fits(declared: Shape, shape: tuple[int, ...]) -> bool:
    """Return whether a sample of `shape` fits the declared shape."""
    return len(declared) == len(shape) and all(d in {None, s} for d, s in zip(declared, shape, strict=True))


def shape_text(shape: Sequence[int | None]) -> str:
    """Return a shape for messages, ? for an open dimension."""
    return "x".join("?" if dim is None else str(dim) for dim in shape) or "none"
