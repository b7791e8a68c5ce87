"""Inputs and outputs of a .tflite file: channels last, and integers with a scale. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.worker.jobs import JobModel


def fitted(
    inputs: NDArray[np.generic], shape: Sequence[int], dtype: Any, quantization: tuple[float, int]
) -> NDArray[np.generic]:
    """Return inputs (batch, *shape) in the layout and type of a .tflite file's input of `shape`, its batch first.

    `quantization` is the scale, 0 if there is none, and the zero point.
    """
    wanted = tuple(int(size) for size in shape[1:])
    last = np.moveaxis(inputs, 1, -1) if inputs.ndim > 2 else inputs
    if inputs.shape[1:] != wanted and last.shape[1:] != wanted:
        raise ValueError(f"its .tflite file takes samples of shape {wanted}, the model {inputs.shape[1:]}")
    arranged: NDArray[Any] = inputs if inputs.shape[1:] == wanted else np.ascontiguousarray(last)
    dtype, (scale, zero_point) = np.dtype(dtype), quantization
    if not (np.issubdtype(dtype, np.integer) and np.issubdtype(arranged.dtype, np.floating)):
        return arranged.astype(dtype, copy=False)
    if not scale:
        raise ValueError(f"its .tflite file takes {dtype} but does not state their scale")
    limits = np.iinfo(dtype)
    rounded: NDArray[np.generic] = np.clip(np.rint(arranged / scale) + zero_point, limits.min, limits.max).astype(dtype)
    return rounded


def floats(output: NDArray[np.generic], quantization: tuple[float, int], model: JobModel) -> NDArray[np.generic]:
    """Return an output as the model's own file gives it: floats, unless that gives integers as well."""
    scale, zero_point = quantization
    if not scale or model.output_scale is not None or not np.issubdtype(output.dtype, np.integer):
        return output
    dequantized: NDArray[np.generic] = ((output.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)
    return dequantized
