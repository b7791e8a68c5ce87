"""When latencies cannot be trusted, and what to do about it (after pyperf's checks).

Warnings about the machine itself, and about what disturbed the sessions, come from `machine.diagnostics`.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from kdbench import statistics, units
from kdbench.measure.latency.configurations import Configuration
from kdbench.measure.latency.sessions import Sampled
from kdbench.measure.latency.steadiness import two_states, unevenness
from kdbench.recipe.measure import Measure
from kdbench.results.records import Diagnostic
from kdbench.statistics import Clustered
from kdbench.worker.loads import SATURATED, Server

_FLOORS = 20  # a call of so many floors is 5 % the call's calls cost
_CLOCK_STEPS = 100  # a call of so many steps is known to 1 %
_OVERRUN = 1.5
_UNSTABLE_SPREAD = 0.1


def latency_warnings(sampled: Sampled, config: Measure) -> Iterator[Diagnostic]:
    """Yield what the samples themselves show."""
    for id_ in dict.fromkeys(id_ for id_, _ in sampled.samples):
        calls = [
            (sampled.configurations[n], data)
            for (i, n), data in sampled.samples.items()
            if i == id_ and _keeps_up(sampled.configurations[n], sampled.call_ns.get((i, n)))
        ]
        yield from _unstable(id_, calls)
        yield from _two_states(id_, calls)
        yield from _near_floor(id_, calls, sampled)
        yield from _near_clock(id_, calls, clock_step_ns())
    yield from _overrun(sampled.seconds, config.budget_s)


def saturation(configuration: Configuration, call_ns: Sequence[float]) -> str | None:
    """Return why a model cannot serve a configuration's arrivals, by the times of its warm calls; or None."""
    busy = Server(configuration.rate_per_s).busy(float(np.median(call_ns)))
    if busy < SATURATED:
        return None
    return f"{configuration.rate_per_s} calls a second would keep it busy {100 * busy:.0f} % of the time"


def instability(data: Clustered) -> str | None:
    """Return why no gate may rely on these samples, or None."""
    spread = statistics.session_spread(data)
    return f"sessions differ by {100 * spread:.0f} %" if spread >= _UNSTABLE_SPREAD else None


def clock_step_ns(readings: int = 1000) -> float:
    """Return the least time between two readings of the clock that calls are timed with: its step or its cost."""
    clock = time.perf_counter_ns
    times = np.array([clock() for _ in range(readings)])
    steps = np.diff(times)
    return float(np.min(steps[steps > 0], initial=times[-1] - times[0]))


def _keeps_up(configuration: Configuration, call_ns: Sequence[float] | None) -> bool:
    """Return whether a model keeps up with the arrivals; one that does not has no latency."""
    return not call_ns or saturation(configuration, call_ns) is None


CallSamples = Sequence[tuple[Configuration, Clustered]]
"""One model's samples in each configuration."""


def _unstable(id_: str, calls: CallSamples) -> Iterator[Diagnostic]:
    reasons = []
    for configuration, data in calls:
        # Waits of arrivals are random, so that blocks differ even on the steadiest machine.
        why = instability(data) or (None if configuration.mode == "server" else unevenness(data))
        reasons += [(configuration, why)] if why else []
    yield from _one_warning(id_, "unstable", reasons, "measure on a quiet machine, or with a longer --budget")


def _two_states(id_: str, calls: CallSamples) -> Iterator[Diagnostic]:
    reasons = [(configuration, why) for configuration, data in calls if (why := two_states(data))]
    remedy = "try other --cores, and give it a longer --budget: more sessions weigh both states"
    yield from _one_warning(id_, "two_states", reasons, remedy)


def _near_floor(id_: str, calls: CallSamples, sampled: Sampled) -> Iterator[Diagnostic]:
    floor_ns = float(np.median(sampled.floor_ns)) if len(sampled.floor_ns) else 0.0
    reasons = []
    for configuration, data in calls:
        median_ns = float(np.median(data.values))
        as_floor = (configuration.batch, configuration.mode, configuration.runtime) == (1, "stream", "onnxruntime")
        if as_floor and median_ns < _FLOORS * floor_ns:
            reasons.append((configuration, f"an empty call costs {floor_ns / 1e3:.1f} of its {median_ns / 1e3:.1f} µs"))
    remedy = "compare batched runs, or MACs: the call's calls cost hides part of the speed-up"
    yield from _one_warning(id_, "near_floor", reasons, remedy)


def _near_clock(id_: str, calls: CallSamples, step_ns: float) -> Iterator[Diagnostic]:
    medians = [(configuration, float(np.median(data.values))) for configuration, data in calls]
    reasons = [
        (configuration, f"the clock's step is {step_ns:.0f} of its {median_ns:.0f} ns")
        for configuration, median_ns in medians
        if median_ns < _CLOCK_STEPS * step_ns
    ]
    yield from _one_warning(id_, "coarse_clock", reasons, "time larger batches; on Linux, boot with clocksource=tsc")


def _one_warning(
    id_: str, code: str, reasons: Sequence[tuple[Configuration, str]], remedy: str
) -> Iterator[Diagnostic]:
    """Yield one warning of a model for all configurations with a reason."""
    if not reasons:
        return
    configuration, why = reasons[0]
    more = len(reasons) - 1
    others = f" (and in {more} other configuration{'s' if more > 1 else ''})" if more else ""
    message = f"latency at batch {configuration.batch}, {_called(configuration)}: {why}{others}"
    yield Diagnostic(code=code, message=message, remedy=remedy, model=id_)


def _called(configuration: Configuration) -> str:
    words = [units.threads(configuration.threads)]
    words += [configuration.mode] if configuration.mode != "stream" else []
    words += [configuration.runtime] if configuration.runtime != "onnxruntime" else []
    return ", ".join(words)


def _overrun(seconds: float, budget_s: float) -> Iterator[Diagnostic]:
    if seconds > _OVERRUN * budget_s:
        yield Diagnostic(
            code="over_budget",
            message=f"the least number of calls took {seconds:.1f} s of a latency budget of {budget_s:.1f} s",
            remedy="a longer --budget narrows the intervals; a smaller --batch shortens the calls",
        )
