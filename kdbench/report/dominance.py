"""Which of several models, each with a cost and a score, are dominated by others, and whether intervals support that.

A model dominates another if it costs no more and scores no worse, and is better in one of the two. The values decide
that. A difference is settled if the intervals do not overlap.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter


@dataclass(frozen=True)
class Range:
    """A value and the bounds of its true value: equal to it for counts, infinite if unknown."""

    value: float
    low: float = -math.inf
    high: float = math.inf

    def negated(self) -> "Range":
        """Return the range of the negative value."""
        return Range(-self.value, -self.high, -self.low)


@dataclass(frozen=True)
class Point:
    """A model's cost, the less the better, and its score, the more the better."""

    cost: Range
    score: Range


@dataclass(frozen=True)
class Dominance:
    """The index of the point that dominates another one, and which of the two differences are settled."""

    by: int
    cost_settled: bool
    score_settled: bool

    @property
    def settled(self) -> bool:
        """Whether both differences are settled."""
        return self.cost_settled and self.score_settled


def dominances(points: Sequence[Point]) -> list[Dominance | None]:
    """Return for each point the other point that dominates it; None for points on the front.

    It is a point for which both differences are settled, if there is one, or else the one with the best score among
    those that cost no more. Takes O(n log n).
    """
    settled, by_value = _settled(points), _by_value(points)
    dominating = (first if first is not None else second for first, second in zip(settled, by_value, strict=True))
    return [None if by is None else dominance(points, index, by) for index, by in enumerate(dominating)]


def dominance(points: Sequence[Point], index: int, by: int) -> Dominance | None:
    """Return how the point at `by` dominates the one at `index`; None if it does not.

    A difference of zero counts as settled.
    """
    point, other = points[index], points[by]
    no_worse = other.cost.value <= point.cost.value and other.score.value >= point.score.value
    if not no_worse or (other.cost.value, other.score.value) == (point.cost.value, point.score.value):
        return None
    return Dominance(
        by,
        cost_settled=other.cost.value == point.cost.value or other.cost.high <= point.cost.low,
        score_settled=other.score.value == point.score.value or other.score.low > point.score.high,
    )


def _by_value(points: Sequence[Point]) -> Iterator[int | None]:
    """Yield for each point the best scorer of those that dominate it by value, if any."""
    order = sorted(range(len(points)), key=lambda index: (points[index].cost.value, -points[index].score.value))
    dominating: dict[int, int | None] = {}
    best = None
    for index in order:
        dominating[index] = None if best is None or dominance(points, index, best) is None else best
        if best is None or points[index].score.value > points[best].score.value:
            best = index
    yield from (dominating[index] for index in range(len(points)))


def _settled(points: Sequence[Point]) -> Iterator[int | None]:
    """Yield for each point another one that certainly costs no more and scores better, if any."""
    order = sorted(range(len(points)), key=lambda index: points[index].cost.low)
    cheapest = iter(sorted(((point.cost.high, index) for index, point in enumerate(points)), key=itemgetter(0)))
    dominating: dict[int, int | None] = {}
    upcoming, best = next(cheapest, None), None
    for index in order:
        while upcoming is not None and upcoming[0] <= points[index].cost.low:
            if best is None or points[upcoming[1]].score.low > points[best].score.low:
                best = upcoming[1]
            upcoming = next(cheapest, None)
        is_certain = best is not None and points[best].score.low > points[index].score.high
        dominating[index] = best if is_certain else None
    yield from (dominating[index] for index in range(len(points)))
