"""When latencies cannot be trusted, and what to do about it (after pyperf's checks).

Warnings about the machine itself come from `machine.diagnostics`, about what happened while it measured from
`machine.disturbance`.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from kdbench import units
from kdbench.measure.latency.configurations import Configuration
from kdbench.measure.latency.findings import instability, saturation
from kdbench.measure.latency.sessions import Sampled
from kdbench.measure.latency.steadiness import two_states, unevenness
from kdbench.recipe.measure import Measure
from kdbench.results.records import Diagnostic
from kdbench.statistics import Clustered

_FLOORS = 20  # a call of so many floors is 5 % the call's own cost
_CLOCK_STEPS = 100  # a call of so many steps is known to 1 %
_OVERRUN = 1.5


def latency_warnings(sampled: Sampled, config: Measure) -> Iterator[Diagnostic]:
    """Yield what the samples say about themselves."""
    for id_ in dict.fromkeys(id_ for id_, _ in sampled.samples):
        own = [
            (sampled.configurations[n], data)
            for (i, n), data in sampled.samples.items()
            if i == id_ and _keeps_up(sampled.configurations[n], sampled.call_ns.get((i, n)))
        ]
        yield from _unstable(id_, own)
        yield from _two_states(id_, own)
        yield from _near_floor(id_, own, sampled)
        yield from _near_clock(id_, own, clock_step_ns())
    yield from _overrun(sampled.seconds, config.budget_s)


def clock_step_ns(readings: int = 1000) -> float:
    """Return the least time between two readings of the clock that calls are timed with: its step or its own cost."""
    clock = time.perf_counter_ns
    told = np.array([clock() for _ in range(readings)])
    steps = np.diff(told)
    return float(np.min(steps[steps > 0], initial=told[-1] - told[0]))


def _keeps_up(configuration: Configuration, call_ns: Sequence[float] | None) -> bool:
    """Return whether a model has a latency to speak of: one that arrivals swamp has none."""
    return not call_ns or saturation(configuration, call_ns) is None


Own = Sequence[tuple[Configuration, Clustered]]
"""One model's samples and how they were taken."""


def _unstable(id_: str, own: Own) -> Iterator[Diagnostic]:
    found = []
    for configuration, data in own:
        # Arrivals wait for chance, so that their blocks differ on the steadiest machine.
        why = instability(data) or (None if configuration.mode == "server" else unevenness(data))
        found += [(configuration, why)] if why else []
    yield from _said_once(id_, "unstable", found, "measure on a quiet machine, or with a longer --budget")


def _two_states(id_: str, own: Own) -> Iterator[Diagnostic]:
    found = [(configuration, why) for configuration, data in own if (why := two_states(data))]
    remedy = "try other --cores, and give it a longer --budget: more sessions weigh both states"
    yield from _said_once(id_, "two_states", found, remedy)


def _near_floor(id_: str, own: Own, sampled: Sampled) -> Iterator[Diagnostic]:
    floor_ns = float(np.median(sampled.floor_ns)) if len(sampled.floor_ns) else 0.0
    found = []
    for configuration, data in own:
        median_ns = float(np.median(data.values))
        as_floor = (configuration.batch, configuration.mode, configuration.runtime) == (1, "stream", "onnxruntime")
        if as_floor and median_ns < _FLOORS * floor_ns:
            found.append((configuration, f"any call costs {floor_ns / 1e3:.1f} of its {median_ns / 1e3:.1f} µs"))
    remedy = "compare batched runs, or MACs: the call's own cost hides part of the speed-up"
    yield from _said_once(id_, "near_floor", found, remedy)


def _near_clock(id_: str, own: Own, step_ns: float) -> Iterator[Diagnostic]:
    medians = [(configuration, float(np.median(data.values))) for configuration, data in own]
    found = [
        (configuration, f"the clock's step is {step_ns:.0f} of its {median_ns:.0f} ns")
        for configuration, median_ns in medians
        if median_ns < _CLOCK_STEPS * step_ns
    ]
    yield from _said_once(id_, "coarse_clock", found, "time larger batches; on Linux, boot with clocksource=tsc")


def _said_once(id_: str, code: str, found: Sequence[tuple[Configuration, str]], remedy: str) -> Iterator[Diagnostic]:
    """Yield one warning of a model for all the ways of calling it in which something was found."""
    if not found:
        return
    configuration, why = found[0]
    ways = len(found) - 1
    others = f" (and called in {ways} other way{'s' if ways > 1 else ''})" if ways else ""
    message = f"latency at batch {configuration.batch}, {_called(configuration)}: {why}{others}"
    yield Diagnostic(code=code, message=message, remedy=remedy, model=id_)


def _called(configuration: Configuration) -> str:
    words = [units.threads(configuration.threads)]
    words += [configuration.mode] if configuration.mode != "stream" else []
    words += [configuration.runtime] if configuration.runtime != "onnxruntime" else []
    return ", ".join(words)


def _overrun(taken: float, budget_s: float) -> Iterator[Diagnostic]:
    if taken > _OVERRUN * budget_s:
        yield Diagnostic(
            code="over_budget",
            message=f"the least number of calls took {taken:.1f} s of a latency budget of {budget_s:.1f} s",
            remedy="a longer --budget narrows the intervals; a smaller --batch shortens the calls",
        )
