"""What kdbench would have told had it stopped as soon as its interval was narrow enough."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.trust.repeats import Values
from kdbench import statistics
from kdbench.measure.protocol import Protocol

PRECISIONS = (Protocol().precision, 0.02)


def replayed(rounds: Sequence[NDArray[np.float64]], least: int = Protocol().sessions) -> list[Values]:
    """Return the answer at each of PRECISIONS, from the log ratios of the rounds of each session.

    Sessions are as long whatever the precision: the first of them are what an earlier stop would have had. Each has
    `precision`, `reached` (or the budget ended before), `sessions`, `ratio`, `low` and `high`.
    """
    return [_stopped(rounds, precision, min(least, len(rounds))) for precision in PRECISIONS]


def _stopped(rounds: Sequence[NDArray[np.float64]], precision: float, least: int) -> Values:
    for sessions in range(least, len(rounds) + 1):
        found = statistics.paired_ratio(rounds[:sessions], first=least)
        reached = statistics.relative_width(found) <= precision
        if reached:
            break
    return {
        "precision": precision,
        "reached": reached,
        "sessions": sessions,
        "ratio": found.value,
        "low": found.low,
        "high": found.high,
    }
