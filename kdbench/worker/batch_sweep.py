"""Batches 1, 2, 4, …: how far it pays to enlarge them, and when to stop before it hurts.

Standard library only: it runs in the measuring process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

GROWTH = 0.02  # throughput that has grown by less …
DOUBLINGS = 2  # … over so many doublings grows no more
MEMORY_SHARE = 0.5  # of what is left may go to the next batch
RULE = (
    f"batches 1, 2, 4, … until {DOUBLINGS} doublings bring less than {GROWTH:.0%}, the next batch might take more than "
    f"{MEMORY_SHARE:.0%} of the memory that is left, or the budget is spent"
)


@dataclass(frozen=True)
class Step:
    """A batch, and the time of a call with it."""

    batch: int
    call_ns: float


@dataclass
class Sweep:
    """The batches of one model that were tried, and why there are no more.

    `ended` is `saturated`, `memory`, `budget`, `fixed` or `fault`, of which `fault` tells more; `next_batch` is the one
    that was not taken.
    """

    next_batch: int = 1
    steps: list[Step] = field(default_factory=list)
    ended: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Limits:
    """What a sweep may take.

    Each batch will be called `repeats` times, and for `least_ns` at least; all together have `budget_ns`.
    `needed_bytes` is what a batch is expected to take beyond what is taken already, `available_bytes` what is left.
    """

    budget_ns: float
    repeats: int
    least_ns: float
    needed_bytes: Callable[[int], int]
    available_bytes: Callable[[], int]

    def hindrance(self, found: Sweep) -> str | None:
        """Return what speaks against the next batch of `found`: `memory`, `budget` or nothing."""
        if self.needed_bytes(found.next_batch) > MEMORY_SHARE * self.available_bytes():
            return "memory"
        last = found.steps[-1]
        expected = Step(2 * last.batch, 2 * last.call_ns)  # twice the samples take twice the time, or less
        return "budget" if self.cost_ns([*found.steps, expected]) > self.budget_ns else None

    def cost_ns(self, steps: Sequence[Step]) -> float:
        """Return how long the calls of these batches will take."""
        return sum(max(self.repeats * step.call_ns, self.least_ns) for step in steps)


def sweep(
    call_ns: Callable[[int], float],
    hindrance: Callable[[Sweep], str | None],
    describe: Callable[[Exception], str],
    faults: tuple[type[Exception], ...],
    first: int = 1,
) -> Sweep:
    """Try batches from `first` on, each twice the one before, until throughput grows no more or something hinders.

    `hindrance` is asked before each further batch. One of `faults` ends the sweep, but leaves what was found before.
    """
    found = Sweep(next_batch=first)
    while not found.ended:
        batch = found.next_batch
        try:
            found.steps.append(Step(batch, call_ns(batch)))
        except faults as error:
            found.ended, found.fault = "fault", describe(error)
            break
        found.next_batch = 2 * batch
        found.ended = ("saturated" if saturated(found.steps) else hindrance(found)) or ""
    return found


def saturated(steps: Sequence[Step]) -> bool:
    """Return whether the last DOUBLINGS brought no GROWTH of throughput over the best before them."""
    rates = [step.batch / step.call_ns for step in steps]
    before, last = rates[:-DOUBLINGS], rates[-DOUBLINGS:]
    return bool(before) and max(last) < (1 + GROWTH) * max(before)
