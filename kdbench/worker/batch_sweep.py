"""The sweep over batches 1, 2, 4, …, until throughput no longer grows, or memory or time are insufficient.

Standard library only, because it runs in the measuring process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

GROWTH = 0.02  # throughput that grows by less …
DOUBLINGS = 2  # … over this many doublings is saturated
MEMORY_SHARE = 0.5  # the largest share of the remaining memory that the next batch may take
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
    """The batches of one model that were tried, and the reason for the end of the sweep.

    `ended` is `saturated`, `memory`, `budget`, `fixed` or `fault`, with the message `fault`; `next_batch` is the first
    batch that was not tried.
    """

    next_batch: int = 1
    steps: list[Step] = field(default_factory=list)
    ended: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Limits:
    """The resources of a sweep.

    Each batch will be called `repeats` times, and for `least_ns` at least; all together have `budget_ns`.
    `needed_bytes` returns the memory that a batch is expected to need in addition, `available_bytes` the free memory.
    """

    budget_ns: float
    repeats: int
    least_ns: float
    needed_bytes: Callable[[int], int]
    available_bytes: Callable[[], int]

    def exhausted(self, tried: Sweep) -> str | None:
        """Return the resource that is insufficient for the next batch after `tried`: `memory`, `budget` or None."""
        if self.needed_bytes(tried.next_batch) > MEMORY_SHARE * self.available_bytes():
            return "memory"
        last = tried.steps[-1]
        expected = Step(2 * last.batch, 2 * last.call_ns)  # twice the samples take twice the time, or less
        return "budget" if self.cost_ns([*tried.steps, expected]) > self.budget_ns else None

    def cost_ns(self, steps: Sequence[Step]) -> float:
        """Return the expected time of all calls of these batches, in ns."""
        return sum(max(self.repeats * step.call_ns, self.least_ns) for step in steps)


def sweep(
    call_ns: Callable[[int], float],
    exhausted: Callable[[Sweep], str | None],
    describe: Callable[[Exception], str],
    faults: tuple[type[Exception], ...],
    first: int = 1,
) -> Sweep:
    """Try batches from `first` on, each twice the previous one, until throughput is saturated or a resource exhausted.

    `exhausted` is called before each further batch, as `Limits.exhausted`. One of `faults` ends the sweep; earlier
    batches are kept.
    """
    result = Sweep(next_batch=first)
    while not result.ended:
        batch = result.next_batch
        try:
            result.steps.append(Step(batch, call_ns(batch)))
        except faults as error:
            result.ended, result.fault = "fault", describe(error)
            break
        result.next_batch = 2 * batch
        result.ended = ("saturated" if saturated(result.steps) else exhausted(result)) or ""
    return result


def saturated(steps: Sequence[Step]) -> bool:
    """Return whether the last DOUBLINGS brought no GROWTH of throughput over the best before them."""
    rates = [step.batch / step.call_ns for step in steps]
    before, last = rates[:-DOUBLINGS], rates[-DOUBLINGS:]
    return bool(before) and max(last) < (1 + GROWTH) * max(before)
