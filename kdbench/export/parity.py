"""Parity of an exported file with its network: their logits on the same real inputs."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from kdbench.results.metrics import parity_tolerance

_BATCH = 32  # small, so that large images need little memory
# In a network that rounds its activations, one image in ten may hit a rounding boundary in only one of the two.
_ROUNDED_SHARE = 0.9


@dataclass(frozen=True)
class Parity:
    """Largest absolute difference of logits over `samples` inputs, and whether it is within `tolerance`.

    For a network that rounds its activations, `quantile` counts instead: the difference below which nine inputs in ten
    stay. Both are NaN if either side has a logit that is not finite.
    """

    max_abs: float
    tolerance: float
    samples: int
    quantile: float | None = None

    @property
    def is_finite(self) -> bool:
        """Whether all logits are finite."""
        return math.isfinite(self.max_abs)

    @property
    def difference(self) -> float:
        """The difference to compare with the tolerance."""
        return self.max_abs if self.quantile is None else self.quantile

    @property
    def holds(self) -> bool:
        """Whether the file may be measured as the network."""
        return self.difference <= self.tolerance


def check_parity(network: nn.Module, path: Path, images: Tensor, *, rounding: Tensor | None = None) -> Parity:
    """Compare `network` with the ONNX file at `path` on normalised `images` (N, C, H, W), float32.

    `rounding` (N,) is for a network that rounds its activations to a grid: how far each image's logits may differ when
    sums differ in their last digits. The file then runs without optimisations: with them, onnxruntime would compute in
    integers, with rounded biases, what the file has in floating point.
    """
    network.eval()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if rounding is not None:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    differences, largest = [], 0.0
    for part in torch.split(images, _BATCH):
        with torch.no_grad():
            expected = network(part).numpy()
        (logits,) = session.run(None, {name: part.numpy()})
        # numpy's maximum, unlike Python's, lets NaN through.
        differences.append(np.abs(expected - logits).max(axis=1))
        largest = float(np.maximum(largest, np.abs(expected).max()))
    by_image = np.concatenate(differences)
    max_abs, tolerance = float(by_image.max()), parity_tolerance(largest)
    if rounding is None:
        return Parity(max_abs, tolerance, len(images))
    allowed = float(torch.quantile(rounding, _ROUNDED_SHARE))
    quantile = float(np.quantile(by_image, _ROUNDED_SHARE))
    return Parity(max_abs, max(tolerance, allowed), len(images), quantile)
