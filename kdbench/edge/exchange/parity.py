"""Parity: whether a device returns the host's outputs for the same inputs, before anything is timed.

Sums in another order differ in the last digits. Integers are rounded after each layer, where one unit more or less
moves an output by its quantization step. The tolerance is therefore in steps (see `kdbench.edge.bundles.tolerances`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.edge.exchange.plan import ANY_DEVIATION, Tolerance


@dataclass(frozen=True)
class Parity:
    """The largest deviation of an output, and how many samples have another best output; `failed` is why it fails."""

    max_abs: float
    changed: int
    samples: int
    failed: str = ""


def parity(outputs: NDArray[np.generic], expected: NDArray[np.generic], tolerance: Tolerance) -> Parity:
    """Compare the outputs (N, values) of a device with the host's.

    Scores made from class numbers have columns up to the largest number: the shorter rows end with zeros.
    """
    if tolerance.max_abs >= ANY_DEVIATION and outputs.ndim == expected.ndim == 2:
        columns = max(outputs.shape[1], expected.shape[1])
        outputs, expected = (np.pad(rows, ((0, 0), (0, columns - rows.shape[1]))) for rows in (outputs, expected))
    if outputs.shape != expected.shape:
        return Parity(0.0, 0, len(expected), f"its outputs have shape {outputs.shape}, the host's {expected.shape}")
    ours, theirs = outputs.astype(np.float64), expected.astype(np.float64)
    if not np.isfinite(ours).all():
        return Parity(0.0, 0, len(theirs), "its outputs are not finite")
    max_abs = float(np.abs(ours - theirs).max())
    changed = int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum()) if ours.shape[1] > 1 else 0
    failed = ""
    if max_abs > tolerance.max_abs:
        failed = f"its outputs deviate from the host's by {max_abs:.3g}, more than {tolerance.max_abs:.3g}"
        failed += f" ({tolerance.why})"
    return Parity(max_abs, changed, len(theirs), failed)
