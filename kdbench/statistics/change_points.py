"""Steps in a series of independent estimates: how many there are, where, and how large.

The series is modelled as constant except for a few steps, with one spread around them. Optimal partitioning (Jackson et
al. 2005: dynamic programming, exact) finds the best segments for every number of steps m. The m with the least
n log(residual variance) + m x penalty is chosen: Yao's criterion (1988) with a calibrated penalty. In long series only
those m are tried that can be the best (`long_series`), which gives the same segments.

The variance is that of the points around their segments, and at least `least`: the intervals of the points, and the
scatter between equal runs. Differences of neighbours underestimate it: runs within minutes are alike (differences
suggested 0.6 to 1.6 % for 40 medians that scattered by 4 %, reports/trust), so steps would show the machine's state.

The penalty is calibrated, not derived. With Yao's, 2 log n, a third of series of five to ten points without any step
would show one, and a tenth of series of a hundred. These numbers limit false alarms to about 5 % of series whose
neighbours have a correlation of 0.3, and to 2 % without correlation (test_change_points.py). A segment has at least two
points: a lone outlier is not a step, and a step at the newest point shows with the next point.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kdbench.statistics.estimates import student_t
from kdbench.statistics.long_series import best_starts

MIN_POINTS = 5  # points: fewer cannot show a step beyond their own scatter
SHORTEST = 2  # points in a segment
_LONG = 200  # points, from which trying every number of steps takes longer
_PENALTY = (8.5, 1.8)  # of a step: the first and log n times the second
_ZERO = 1e-9  # of the largest value: what rounding leaves of a zero variance


@dataclass(frozen=True)
class Step:
    """A step before the point `at`: the mean after it less the mean before, with its interval."""

    at: int
    change: float
    low: float
    high: float


@dataclass(frozen=True)
class Segments:
    """A series as a staircase: `starts` are the first points of its segments, 0 among them, `means` their levels."""

    starts: tuple[int, ...]
    means: tuple[float, ...]
    steps: tuple[Step, ...]


def find_steps(values: NDArray[np.float64], least: float = 0.0) -> Segments:
    """Return a series of estimates as a staircase.

    `least` is the least standard deviation that points can have around their segment. For changes as ratios,
    pass logarithms of the values. A step's interval treats the place of the step as known.
    """
    starts = _starts(values, least)
    ends = (*starts[1:], len(values))
    pieces = [values[start:end] for start, end in zip(starts, ends, strict=True)]
    means = tuple(float(piece.mean()) if len(piece) else float("nan") for piece in pieces)
    free = max(len(values) - len(pieces), 1)
    squares = sum(float(((piece - piece.mean()) ** 2).sum()) for piece in pieces if len(piece))
    deviation = max((squares / free) ** 0.5, least)
    t = student_t(free)
    steps = []
    for at, (before, after), (left, right) in zip(starts[1:], pairwise(pieces), pairwise(means), strict=True):
        half = t * deviation * (1 / len(before) + 1 / len(after)) ** 0.5
        steps.append(Step(at, right - left, right - left - half, right - left + half))
    return Segments(starts, means, tuple(steps))


def exact_steps(values: NDArray[np.float64]) -> Segments:
    """Return a series of counts, which have no scatter, as a staircase: every difference is a step."""
    starts = (0, *(int(place) + 1 for place in np.flatnonzero(np.diff(values))))
    means = tuple(float(values[start]) for start in starts) if len(values) else ()
    changes = [after - before for before, after in pairwise(means)]
    return Segments(starts, means, tuple(Step(at, d, d, d) for at, d in zip(starts[1:], changes, strict=True)))


def penalty(n: int) -> float:
    """Return what a step must gain in n log(variance), for a series of `n` points."""
    return _PENALTY[0] + _PENALTY[1] * float(np.log(n))


def _starts(values: NDArray[np.float64], least: float) -> tuple[int, ...]:
    """Return the first points of the segments of the best staircase."""
    n = len(values)
    if n < MIN_POINTS:
        return (0,)
    floor = max(least, _ZERO * float(np.abs(values).max()), np.finfo(np.float64).tiny ** 0.25) ** 2
    most = max(n // 4, 1)
    if n >= _LONG and len(starts := best_starts(values, floor, penalty(n), SHORTEST)) <= most + 1:
        return starts
    squares, cuts = _partitions(values, most)
    variances = np.maximum(squares / n, floor)
    costs = n * np.log(variances) + squares / variances + penalty(n) * np.arange(len(squares))
    return cuts[int(np.argmin(costs))]


def _partitions(values: NDArray[np.float64], most: int) -> tuple[NDArray[np.float64], list[tuple[int, ...]]]:
    """Return, for 0 to `most` steps, the least sum of squares around the segments, and where those begin."""
    n = len(values)
    inside = _sums_of_squares(values)
    best = inside[0]  # of the points before each place, as one segment
    pointers: list[NDArray[np.intp]] = []
    squares = [float(best[n])]
    for _ in range(most):
        through = best[:, None] + inside
        pointers.append(through.argmin(axis=0))
        best = through.min(axis=0)
        squares.append(float(best[n]))
    possible = [steps for steps, square in enumerate(squares) if np.isfinite(square)]
    return np.array([squares[steps] for steps in possible]), [_trace(pointers[:steps], n) for steps in possible]


def _trace(pointers: list[NDArray[np.intp]], n: int) -> tuple[int, ...]:
    starts: list[int] = []
    place = n
    for pointer in reversed(pointers):
        place = int(pointer[place])
        starts.insert(0, place)
    return (0, *starts)


def _sums_of_squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, at [i, j], the sum of squares of points i to j - 1 around their mean; infinite for too few of them."""
    centred = values - values.mean()
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    squares = np.concatenate([[0.0], np.cumsum(centred**2)])
    places = np.arange(len(values) + 1)
    lengths = places[None, :] - places[:, None]
    within = (squares[None, :] - squares[:, None]) - (sums[None, :] - sums[:, None]) ** 2 / np.maximum(lengths, 1)
    return np.where(lengths >= SHORTEST, np.maximum(within, 0.0), np.inf)
