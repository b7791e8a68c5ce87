"""Signs of an unsteady machine in the times of calls (after pyperf's `format_checks`).

pyperf judges values that each are the mean of many calls. Here a block's median corresponds to that, not the time of a
single call: percentiles are there for the one call in a thousand that is interrupted.
"""

import math

import numpy as np
from numpy.typing import NDArray

from kdbench import units
from kdbench.statistics import Clustered

# pyperf's limits, and the number of its values, 20 processes of 3. Of more blocks, the extremes that are as rare are
# used, so that a longer run does not make every machine look unsteady.
_DEVIATION = 0.1
_EXTREME = 0.5
_VALUES = 60

_LEAST_SESSIONS = 5
_CLEFT = 5.0  # times the wider group: 1 in 100 draws of five sessions from one normal distribution
_TELLING_GAP = 0.05


def unevenness(data: Clustered) -> str | None:
    """Return how the blocks of calls differ from each other by more than pyperf allows, or None."""
    medians = np.sort(_medians(data, block_by_block=True))
    mean = float(np.mean(medians))
    deviation = float(np.std(medians, ddof=1)) / mean if len(medians) > 1 else 0.0
    if deviation >= _DEVIATION:
        return f"the standard deviation of the blocks is {100 * deviation:.0f} % of their mean"
    rare = math.ceil(len(medians) / _VALUES) - 1
    for name, value in (("shortest", medians[rare]), ("longest", medians[-1 - rare])):
        off = float(value) / mean - 1
        if abs(off) >= _EXTREME:
            return f"the {name} blocks are {100 * abs(off):.0f} % off the mean"
    return None


def two_states(data: Clustered) -> str | None:
    """Return the two groups that the sessions fall into, in words, or None where there is one.

    Each group has two sessions at least; the gap between the groups is more than `_CLEFT` times the wider one's range,
    and at least `_TELLING_GAP` of the shorter time.
    """
    medians = np.sort(_medians(data, block_by_block=False))
    if len(medians) < _LEAST_SESSIONS:
        return None
    for split in range(2, len(medians) - 1):
        fast, slow = medians[:split], medians[split:]
        gap = slow[0] - fast[-1]
        if gap > _CLEFT * max(np.ptp(fast), np.ptp(slow)) and gap >= _TELLING_GAP * fast[-1]:
            groups = (f"{units.time(float(np.median(group)))} in {len(group)}" for group in (fast, slow))
            return f"sessions are of two kinds: {' and '.join(groups)}"
    return None


def _medians(data: Clustered, *, block_by_block: bool) -> NDArray[np.float64]:
    """Return the median of each block, or of each session."""
    labels = np.stack([data.session, data.block]) if block_by_block else data.session[None]
    _, cluster = np.unique(labels, axis=1, return_inverse=True)
    cluster = cluster.reshape(-1)
    order = np.argsort(cluster, kind="stable")
    parts = np.split(data.values[order], np.cumsum(np.bincount(cluster))[:-1])
    return np.array([np.median(part) for part in parts])
