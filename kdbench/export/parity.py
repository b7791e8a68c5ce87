"""The proof that the exported file says what the network says: their logits on real inputs, side by side."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from kdbench.metrics import parity_tolerance

_BATCH = 32  # large images need little memory so


@dataclass(frozen=True)
class Parity:
    """Largest absolute difference of logits over `samples` inputs, and whether it is within `tolerance`.

    `max_abs` is NaN when either side gave a logit that is not finite.
    """

    max_abs: float
    tolerance: float
    samples: int

    @property
    def is_finite(self) -> bool:
        """Whether both sides gave numbers at all."""
        return math.isfinite(self.max_abs)

    @property
    def holds(self) -> bool:
        """Whether the file may be measured in the network's name."""
        return self.max_abs <= self.tolerance


def check_parity(network: nn.Module, path: Path, images: Tensor) -> Parity:
    """Compare `network` with the ONNX file at `path` on normalised `images` (N, C, H, W), float32."""
    network.eval()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    difference, largest = 0.0, 0.0
    for part in torch.split(images, _BATCH):
        with torch.no_grad():
            expected = network(part).numpy()
        (found,) = session.run(None, {name: part.numpy()})
        # numpy's maximum, unlike Python's, lets NaN through.
        difference = float(np.maximum(difference, np.abs(expected - found).max()))
        largest = float(np.maximum(largest, np.abs(expected).max()))
    return Parity(difference, parity_tolerance(largest), len(images))
