"""The best staircase of a long series, without trying every number of steps.

With S(m) the least sum of squares around the segments of m steps, the criterion of `change_points` is
F(m, S) = n log(v) + S / v + m x penalty, v = max(S / n, floor). F is concave and grows with S, so the best (m, S) also
has the least S + w m, for the slope w = penalty / (dF/dS) at that point, which lies between penalty x floor and
penalty x S(0) / n. For one w, dynamic programming finds the segments in O(n^2) (Jackson et al. 2005). The w between
two solutions A and B that could show a third one is the slope of the line through both (Haynes, Eckley and Fearnhead
2017, CROPS). No solution between them lies below the corner of their tangents: where F is not less there than at the
best solution so far, the search ends.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class _Staircase:
    """The segments with the least `squares` + `weight` x `steps`."""

    steps: int
    squares: float
    starts: tuple[int, ...]
    weight: float

    def corner(self, other: "_Staircase") -> tuple[float, float]:
        """Return steps and squares where the tangents of two solutions meet."""
        levels = [one.squares + one.weight * one.steps for one in (self, other)]
        steps = (levels[0] - levels[1]) / (self.weight - other.weight)
        return steps, levels[0] - self.weight * steps


def best_starts(values: NDArray[np.float64], floor: float, penalty: float, shortest: int) -> tuple[int, ...]:
    """Return the first points of the segments, of `shortest` points or more, that minimise the criterion.

    `floor` is the least variance around a segment.
    """
    n = len(values)
    sums = _Sums(values, shortest)

    def criterion(steps: float, squares: float) -> float:
        variance = max(squares / n, floor)
        return n * math.log(variance) + squares / variance + penalty * steps

    few, many = (sums.staircase(penalty * max(v, floor)) for v in (float(values.var()), floor))
    best = min((few, many), key=lambda it: criterion(it.steps, it.squares))
    pending = [(few, many)]
    while pending:
        left, right = pending.pop()
        if right.steps - left.steps < 2 or left.weight <= right.weight:
            continue
        if criterion(*left.corner(right)) >= criterion(best.steps, best.squares):
            continue
        weight = (left.squares - right.squares) / (right.steps - left.steps)
        middle = sums.staircase(weight)
        if not left.steps < middle.steps < right.steps:
            continue
        best = min((best, middle), key=lambda it: criterion(it.steps, it.squares))
        pending += [(left, middle), (middle, right)]
    return best.starts


class _Sums:
    """A series as cumulative sums, from which the squares around any segment follow."""

    def __init__(self, values: NDArray[np.float64], shortest: int) -> None:
        centred = values - values.mean()
        self.sums = np.concatenate([[0.0], np.cumsum(centred)])
        self.squares = np.concatenate([[0.0], np.cumsum(centred**2)])
        self.places = np.arange(len(values) + 1, dtype=np.float64)
        self.shortest = shortest

    def staircase(self, weight: float) -> _Staircase:
        """Return the segments with the least squares + `weight` x steps."""
        n = len(self.places) - 1
        best = np.full(n + 1, np.inf)  # of the points before each place, a segment costing `weight`
        best[0] = -weight
        previous = np.zeros(n + 1, dtype=np.intp)
        for end in range(self.shortest, n + 1):
            last = end - self.shortest + 1
            costs = best[:last] + self._around(end, last)
            previous[end] = place = int(costs.argmin())
            best[end] = costs[place] + weight
        starts = [int(previous[n])]
        while starts[0]:
            starts.insert(0, int(previous[starts[0]]))
        steps = len(starts) - 1
        return _Staircase(steps, float(best[n]) - weight * steps, tuple(starts), weight)

    def _around(self, end: int, last: int) -> NDArray[np.float64]:
        """Return the squares around the mean of the points from each place before `last` to `end`."""
        sums = self.sums[end] - self.sums[:last]
        within: NDArray[np.float64] = self.squares[end] - self.squares[:last] - sums**2 / (end - self.places[:last])
        return np.maximum(within, 0.0)
