"""When latencies cannot be trusted, and what to do about it (after pyperf's checks).

What speaks against the machine itself stands in `kdbench.environment.stability`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from kdbench.measure.latency import Sampled
from kdbench.measure.latency_findings import instability
from kdbench.measure.protocol import Protocol, threads_text
from kdbench.records import Warned

_FLOORS = 20
_OVERRUN = 1.5


def latency_warnings(sampled: Sampled, protocol: Protocol) -> Iterator[Warned]:
    """Yield what the samples say about themselves: unstable sessions, calls near the floor, a budget overrun."""
    floor_ns = float(np.median(sampled.floor_ns)) if len(sampled.floor_ns) else 0.0
    for (id_, number), data in sampled.samples.items():
        configuration = sampled.configurations[number]
        where = f"at batch {configuration.batch}, {threads_text(configuration.threads)}"
        if why := instability(data):
            yield Warned(
                code="unstable",
                message=f"latency {where}: {why}",
                remedy="measure on a quiet machine, or with a longer --budget",
                model=id_,
            )
        median_ns = float(np.median(data.values))
        if configuration.batch == 1 and median_ns < _FLOORS * floor_ns:
            yield Warned(
                code="near_floor",
                message=f"latency {where}: any call costs {floor_ns / 1e3:.1f} of its {median_ns / 1e3:.1f} µs",
                remedy="compare batched runs, or MACs: the call's own cost hides part of the speed-up",
                model=id_,
            )
    yield from _overrun(sampled.seconds, protocol.budget_s)


def _overrun(seconds: Sequence[float], budget_s: float) -> Iterator[Warned]:
    taken = sum(seconds)
    if taken > _OVERRUN * budget_s:
        yield Warned(
            code="over_budget",
            message=f"the least number of calls took {taken:.1f} s of a latency budget of {budget_s:.1f} s",
            remedy="a longer --budget narrows the intervals; a smaller --batch shortens the calls",
        )
