"""The phases of a sustained load, its first minute and its last third. numpy alone: a device shows them too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from kdbench.results.samples import FIRST, STEADY, STEADY_FROM

MIN_BLOCKS = 12
"""Blocks of a model that a phase needs for a number."""

_FIRST_S, _FIRST_SHARE = 60.0, 0.2
# Of a block, as `kdbench.worker.probes.sustain` writes it.
AT_S, MODEL, MEDIAN_NS, TEMPERATURE_C, CLOCK_KHZ = 0, 1, 3, 6, 7


def blocks_of(lines: Iterable[Sequence[float | None]]) -> NDArray[np.float64]:
    """Return the blocks (N, 8) that a sustained load wrote, one per line; NaN for what the machine does not report."""
    rows = [[np.nan if value is None else value for value in line] for line in lines]
    return np.array(rows, dtype=np.float64).reshape(-1, CLOCK_KHZ + 1)


def phases(blocks: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Return which blocks belong to each phase; there has to be one block."""
    at_s = blocks[:, AT_S]
    return {FIRST: at_s < first_s(at_s[-1]), STEADY: at_s >= STEADY_FROM * at_s[-1]}


def first_s(lasted_s: float) -> float:
    """Return how long the first phase of a load of `lasted_s` seconds is."""
    return min(_FIRST_S, _FIRST_SHARE * lasted_s)


def mean(values: NDArray[np.float64]) -> float | None:
    """Return the mean of the values that are known; None without one."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
