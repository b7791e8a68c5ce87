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
    """A value and the bounds of its true value: both the value for counted ones, infinite where nothing is known."""

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
    """The position of the point that dominates another one, and which of the two differences are settled."""

    by: int
    cost_settled: bool
    score_settled: bool

    @property
    def settled(self) -> bool:
        """Whether all that differs is settled."""
        return self.cost_settled and self.score_settled


def dominances(points: Sequence[Point]) -> list[Dominance | None]:
    """Return by which other point each one is dominated; None for those on the front.

    It is one for which both differences are settled, if there is any, or else the one with the best score among those
    that cost no more. The work grows as n log n.
    """
    settled, by_value = _settled(points), _by_value(points)
    dominating = (first if first is not None else second for first, second in zip(settled, by_value, strict=True))
    return [None if by is None else dominance(points, place, by) for place, by in enumerate(dominating)]


def dominance(points: Sequence[Point], place: int, by: int) -> Dominance | None:
    """Return how the point at `by` dominates the one at `place`; None where it does not.

    Equal values differ in nothing that would have to be settled.
    """
    one, other = points[place], points[by]
    no_worse = other.cost.value <= one.cost.value and other.score.value >= one.score.value
    if not no_worse or (other.cost.value, other.score.value) == (one.cost.value, one.score.value):
        return None
    return Dominance(
        by,
        cost_settled=other.cost.value == one.cost.value or other.cost.high <= one.cost.low,
        score_settled=other.score.value == one.score.value or other.score.low > one.score.high,
    )


def _by_value(points: Sequence[Point]) -> Iterator[int | None]:
    """Yield the best scorer of those that dominate each point by value, if any."""
    order = sorted(range(len(points)), key=lambda place: (points[place].cost.value, -points[place].score.value))
    dominating: dict[int, int | None] = {}
    best = None
    for place in order:
        dominating[place] = None if best is None or dominance(points, place, best) is None else best
        if best is None or points[place].score.value > points[best].score.value:
            best = place
    yield from (dominating[place] for place in range(len(points)))


def _settled(points: Sequence[Point]) -> Iterator[int | None]:
    """Yield, of those that cost no more than each point for certain, one that scores better for certain, if any."""
    order = sorted(range(len(points)), key=lambda place: points[place].cost.low)
    cheapest = iter(sorted(((point.cost.high, place) for place, point in enumerate(points)), key=itemgetter(0)))
    dominating: dict[int, int | None] = {}
    upcoming, best = next(cheapest, None), None
    for place in order:
        while upcoming is not None and upcoming[0] <= points[place].cost.low:
            if best is None or points[upcoming[1]].score.low > points[best].score.low:
                best = upcoming[1]
            upcoming = next(cheapest, None)
        certain = best is not None and points[best].score.low > points[place].score.high
        dominating[place] = best if certain else None
    yield from (dominating[place] for place in range(len(points)))
