"""The proof that the exported file says what the network says: their logits on real inputs, side by side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

# float32 sums taken in another order differ by a few units in the last place per layer; a wrong export differs
# by whole logits. The tolerance is relative to the largest logit, with a floor for networks that say little.
RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_FLOOR = 1e-4


@dataclass(frozen=True)
class Parity:
    """Largest absolute difference of logits over `samples` inputs, and whether it is within `tolerance`.

    `max_abs` is NaN when either side gave a logit that is not finite.
    """

    max_abs: float
    tolerance: float
    samples: int

    @property
    def holds(self) -> bool:
        """Whether the file may be measured in the network's name."""
        return self.max_abs <= self.tolerance


def check_parity(network: nn.Module, path: Path, images: Tensor) -> Parity:
    """Compare `network` with the ONNX file at `path` on normalised `images` (N, C, H, W), float32."""
    network.eval()
    with torch.no_grad():
        expected = network(images).numpy()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    difference = np.abs(expected - found)
    tolerance = max(ABSOLUTE_FLOOR, RELATIVE_TOLERANCE * float(np.abs(expected).max()))
    return Parity(float(difference.max()), tolerance, len(images))
