"""Warnings about latencies that are unreliable, each with a remedy (after pyperf's checks).

pyperf judges values that each are the mean of many calls. Here a block's median corresponds to that, not the time of a
single call: percentiles are there for the one call in a thousand that is interrupted. Warnings about the machine
itself, and about what disturbed the sessions, come from `machine.diagnostics`.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics, units
from kdbench.measure.latency.configurations import Configuration
from kdbench.measure.latency.sessions import SessionSamples
from kdbench.measure.timed import TimingConfig
from kdbench.results.records import Diagnostic
from kdbench.statistics import Clustered, Plan
from kdbench.worker.loads import SATURATED, Server
from kdbench.worker.timing import clock_step_ns

_FLOORS = 20  # a call this many times the floor spends 5 % of its time on calling
_CLOCK_STEPS = 100  # a call of this many clock steps is known to 1 %
_OVERRUN = 1.5
_UNSTABLE_SPREAD = 0.1

# pyperf's limits, and the number of its values, 20 processes of 3. Of more blocks, the extremes that are as rare are
# used, so that a longer run does not make every machine look unsteady.
_DEVIATION = 0.1
_EXTREME = 0.5
_VALUES = 60
_READABLE_WIDTH = 1.0  # relative; a wider interval says only that too little was measured

_MIN_SESSIONS = 5
# In units of the wider group's range: 1 in 100 draws of five sessions from one normal distribution has such a gap.
_GAP_IN_RANGES = 5.0
_MIN_GAP = 0.05

_REMEDIES = {
    "unstable": "measure on a quiet machine, or with a longer --budget",
    "two_states": "try other --cores and a longer --budget: over more sessions, both states count in proportion",
    "near_floor": "compare batched runs, or MACs: the cost of the call itself hides part of the speed-up",
    "coarse_clock": "time larger batches; on Linux, boot with clocksource=tsc",
}


def latency_warnings(
    sampled: SessionSamples, config: TimingConfig, step_ns: float | None = None
) -> Iterator[Diagnostic]:
    """Yield what the samples themselves show: one warning of each kind a model, for all its configurations.

    `step_ns` is the step of the clock that they were timed with, by default this machine's.
    """
    floor_ns = float(np.median(sampled.floor_ns)) if len(sampled.floor_ns) else 0.0
    step_ns = clock_step_ns() if step_ns is None else step_ns
    reasons: dict[tuple[str, str], list[tuple[Configuration, str]]] = defaultdict(list)
    for id_, number in sampled.samples:
        configuration, call_ns = sampled.configurations[number], sampled.call_ns.get((id_, number))
        data = sampled.undisturbed((id_, number))
        # A model that does not keep up with the arrivals has no latency.
        if not (call_ns and saturation(configuration, call_ns)):
            for code, reason in _problems(configuration, data, floor_ns, step_ns):
                reasons[id_, code].append((configuration, reason))
    for id_, code in product(dict.fromkeys(id_ for id_, _ in sampled.samples), _REMEDIES):
        if problems := reasons.get((id_, code)):
            yield _warning(id_, code, problems)
    if sampled.seconds > _OVERRUN * config.budget_s:
        spent = f"{sampled.seconds:.1f} s of a latency budget of {config.budget_s:.1f} s"
        remedy = "a longer --budget narrows the intervals; a smaller --batch shortens the calls"
        yield Diagnostic(code="over_budget", message=f"the minimum number of calls took {spent}", remedy=remedy)


def saturation(configuration: Configuration, call_ns: Sequence[float]) -> str | None:
    """Return why a model cannot serve a configuration's arrivals, by the times of its warm calls; or None."""
    busy = Server(configuration.rate_per_s).busy(float(np.median(call_ns)))
    if busy < SATURATED:
        return None
    return f"{configuration.rate_per_s} calls per second would keep it busy {100 * busy:.0f} % of the time"


def instability(data: Clustered) -> str | None:
    """Return by how much the sessions differ if that exceeds `_UNSTABLE_SPREAD`, or None; the interval includes it."""
    spread = statistics.session_spread(data)
    return f"sessions differ by {100 * spread:.0f} %" if spread >= _UNSTABLE_SPREAD else None


def unevenness(data: Clustered) -> str | None:
    """Return how the blocks of calls differ from each other by more than pyperf allows, or None."""
    medians = np.sort(_medians(data, block_by_block=True))
    mean = float(np.mean(medians))
    deviation = float(np.std(medians, ddof=1)) / mean if len(medians) > 1 else 0.0
    if deviation >= _DEVIATION:
        return f"the standard deviation of the blocks is {100 * deviation:.0f} % of their mean"
    rare = math.ceil(len(medians) / _VALUES) - 1
    for name, value in (("shortest", medians[rare]), ("longest", medians[-1 - rare])):
        distance = abs(float(value) / mean - 1)
        if distance >= _EXTREME:
            return f"the {name} blocks are {100 * distance:.0f} % off the mean"
    return None


def two_states(data: Clustered) -> str | None:
    """Return the two groups that the sessions fall into, in words, or None if there is only one.

    Each group has two sessions at least; the gap between the groups is more than `_GAP_IN_RANGES` times the wider one's
    range, and at least `_MIN_GAP` of the shorter time.
    """
    medians = np.sort(_medians(data, block_by_block=False))
    if len(medians) < _MIN_SESSIONS:
        return None
    for split in range(2, len(medians) - 1):
        fast, slow = medians[:split], medians[split:]
        gap = slow[0] - fast[-1]
        if gap > _GAP_IN_RANGES * max(np.ptp(fast), np.ptp(slow)) and gap >= _MIN_GAP * fast[-1]:
            groups = (f"{units.time(float(np.median(group)))} in {len(group)}" for group in (fast, slow))
            return f"sessions fall into two groups: medians of {' and '.join(groups)}"
    return None


def _medians(data: Clustered, *, block_by_block: bool) -> NDArray[np.float64]:
    """Return the median of each block, or of each session."""
    labels = np.stack([data.session, data.block]) if block_by_block else data.session[None]
    cluster = np.unique(labels, axis=1, return_inverse=True)[1].reshape(-1)
    order = np.argsort(cluster, kind="stable")
    parts = np.split(data.values[order], np.cumsum(np.bincount(cluster))[:-1])
    return np.array([np.median(part) for part in parts])


def _problems(
    configuration: Configuration, data: Clustered, floor_ns: float, step_ns: float
) -> Iterator[tuple[str, str]]:
    """Yield a diagnostic's code and the reason, for everything that is wrong with a model's samples."""
    # Waits of arrivals are random, so that blocks differ even on the steadiest machine.
    if reason := instability(data) or (None if configuration.mode == "server" else unevenness(data)):
        yield "unstable", reason
    if reason := two_states(data):
        yield "two_states", reason
    median_ns = float(np.median(data.values))
    as_floor = (configuration.batch, configuration.mode, configuration.runtime) == (1, "stream", "onnxruntime")
    if as_floor and median_ns < _FLOORS * floor_ns:
        yield "near_floor", f"an empty call costs {floor_ns / 1e3:.1f} µs of its median of {median_ns / 1e3:.1f} µs"
    if median_ns < _CLOCK_STEPS * step_ns:
        yield "coarse_clock", f"the clock's step is {step_ns:.0f} ns of its median of {median_ns:.0f} ns"


def _warning(id_: str, code: str, reasons: Sequence[tuple[Configuration, str]]) -> Diagnostic:
    configuration, reason = reasons[0]
    more = len(reasons) - 1
    others = f" (and in {more} other configuration{'s' if more > 1 else ''})" if more else ""
    words = [units.threads(configuration.threads)]
    words += [configuration.mode] if configuration.mode != "stream" else []
    words += [configuration.runtime] if configuration.runtime != "onnxruntime" else []
    message = f"latency at batch {configuration.batch}, {', '.join(words)}: {reason}{others}"
    return Diagnostic(code=code, message=message, remedy=_REMEDIES[code], model=id_)


def imprecision(width: float, config: TimingConfig, plan: Plan) -> tuple[Diagnostic, ...]:
    """Return a warning if the budget ended before the sessions determined every headline as precisely as requested.

    An interval also allows for what runs differ by (`Plan.resolution`). No budget lowers that part, and on a virtual
    machine it alone may exceed the precision: it is no reason for a warning.
    """
    sessions_width = math.sqrt(max(width**2 - plan.least_width**2, 0.0))
    if sessions_width <= config.precision:
        return ()
    spent = f"when the budget of {config.budget_s:g} s was spent, intervals {_width(width)}"
    message = f"{spent}; {100 * config.precision:g} % was requested"
    remedy = "give it a longer --budget, or measure when the machine is otherwise idle"
    return (Diagnostic(code="precision_missed", message=message, remedy=remedy),)


def _width(width: float) -> str:
    """Return how wide intervals were, as a part of a sentence; two sessions can give any number."""
    if not np.isfinite(width):
        return "were unknown"
    return f"were up to {100 * width:.1f} % wide" if width <= _READABLE_WIDTH else "were wider than their means"
