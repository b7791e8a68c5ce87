"""The proof that the exported file says what the network says: their logits on real inputs, side by side."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from kdbench.results.metrics import parity_tolerance

_BATCH = 32  # large images need little memory so
# Of a network that rounds its activations, an image in ten may have met a rounding boundary in one computation alone.
_SHARE_OF_ROUNDED = 0.9


@dataclass(frozen=True)
class Parity:
    """Largest absolute difference of logits over `samples` inputs, and whether it is within `tolerance`.

    Of a network that rounds its activations, what counts is `most`: what nine inputs in ten stay below. Both are NaN
    when either side gave a logit that is not finite.
    """

    max_abs: float
    tolerance: float
    samples: int
    most: float | None = None

    @property
    def is_finite(self) -> bool:
        """Whether both sides gave numbers at all."""
        return math.isfinite(self.max_abs)

    @property
    def strays(self) -> float:
        """The difference that the tolerance is for."""
        return self.max_abs if self.most is None else self.most

    @property
    def holds(self) -> bool:
        """Whether the file may be measured in the network's name."""
        return self.strays <= self.tolerance


def check_parity(network: nn.Module, path: Path, images: Tensor, *, rounding: Tensor | None = None) -> Parity:
    """Compare `network` with the ONNX file at `path` on normalised `images` (N, C, H, W), float32.

    `rounding` (N,) is for a network that rounds its activations to a grid: how far each image's logits may stray when
    sums differ in their last digits. The file is then computed as it is written: with its optimisations onnxruntime
    would compute in integers, with biases rounded, what the file has in floating point.
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
        (found,) = session.run(None, {name: part.numpy()})
        # numpy's maximum, unlike Python's, lets NaN through.
        differences.append(np.abs(expected - found).max(axis=1))
        largest = float(np.maximum(largest, np.abs(expected).max()))
    each = np.concatenate(differences)
    max_abs, usual = float(each.max()), parity_tolerance(largest)
    if rounding is None:
        return Parity(max_abs, usual, len(images))
    allowed = float(torch.quantile(rounding, _SHARE_OF_ROUNDED))
    most = float(np.quantile(each, _SHARE_OF_ROUNDED))
    return Parity(max_abs, max(usual, allowed), len(images), most)
