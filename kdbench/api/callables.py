"""`time_callable`: times any Python function, with the sessions and intervals that kdbench uses for model files."""

import gc
import inspect
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from kdbench import statistics, units
from kdbench.api.progress import progress_display
from kdbench.errors import InputError, first_line
from kdbench.machine.lock import machine_lock
from kdbench.measure.latency.diagnosis import instability
from kdbench.measure.latency.ratios import log_ratios, session_plan
from kdbench.measure.latency.sessions import max_sessions
from kdbench.progress import Progress
from kdbench.registry import suggestion
from kdbench.results.findings import estimated_across_runs, estimated_pair
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Measurement, Pair
from kdbench.results.samples import join_sessions, session_calls
from kdbench.statistics import Clustered, Estimate, RunSpread
from kdbench.user_input.arguments import checked
from kdbench.worker.loads import Calls, Clock
from kdbench.worker.timing import WARM_UP_SHARE, Interleaving, TurnError, WarmUp, warm_up

_PERCENTILES = {50: "latency_p50_ns", 90: "latency_p90_ns", 95: "latency_p95_ns", 99: "latency_p99_ns"}
CAVEATS = (
    "all calls run in this process: intervals do not include differences between processes (memory, threads, caches)",
    "times include the whole call: conversions of inputs, Python's own work, and as many threads as it uses",
)
"""Guarantees that hold for the times of model files, but not for those of a function."""


@dataclass(frozen=True, repr=False)
class CallableTimes:
    """The latencies of one function, or of two whose calls were interleaved.

    `measurements` hold percentiles and the mean, in ns, each with its interval and number of calls. `ratio` is the time
    of the other function (`against`) over that of the function: above 1, the function is faster. It is None without
    another function. `caveats` list the limitations of the numbers.

        >>> times = kdbench.time_callable(sorted, [[3, 1, 2]], budget_s=0.2, sessions=2)
        >>> times.median.unit, times.median.value > 0
        ('ns', True)
    """

    measurements: tuple[Measurement, ...]
    ratio: Pair | None
    sessions: int
    caveats: tuple[str, ...] = CAVEATS

    @property
    def median(self) -> Measurement:
        """The median time of a call of the function."""
        return self.find("latency_p50_ns")

    @checked
    def find(self, metric: str, function: str | None = None) -> Measurement:
        """Return a metric such as latency_p95_ns, of the function or of another by its name.

            >>> times = kdbench.time_callable(sorted, [[3, 1, 2]], budget_s=0.2, sessions=2)
            >>> times.find("latency_mean_ns").model
            'sorted'

        Raises InputError for a metric that was not measured.
        """
        name = self.measurements[0].model if function is None else function
        known = {m.metric: m for m in self.measurements if m.model == name}
        if metric not in known:
            message = f"there is no {metric!r} of {name!r}"
            raise InputError(message, suggestion(metric, known or {m.model for m in self.measurements}))
        return known[metric]

    def __str__(self) -> str:
        lines = [f"{m.model}: {_text(m)}" for m in self.measurements if m.metric == "latency_p50_ns"]
        if self.ratio is not None and self.ratio.value is not None:
            interval = self.ratio.interval
            bounds = f" [{interval.low:.3g}, {interval.high:.3g}]" if interval else ""
            lines.append(
                f"{self.ratio.teacher} takes {self.ratio.value:.3g}{bounds} times as long as {self.ratio.student}"
            )
        return "\n".join([*lines, *(f"note: {caveat}" for caveat in self.caveats)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


@dataclass(frozen=True)
class _Config:
    budget_s: float
    sessions: int
    precision: float


@checked
def time_callable(
    fn: Callable[..., object],
    inputs: Any = None,
    *,
    against: Callable[..., object] | None = None,
    budget_s: float = 20.0,
    sessions: int = 8,
    precision: float = 0.05,
    progress: Progress | None = None,
) -> CallableTimes:
    """Measure the latency of a function, with the sessions and intervals that model files get.

        >>> times = kdbench.time_callable(sorted, [[3, 1, 2], [2, 1]], against=max, budget_s=0.2, sessions=2)
        >>> times.ratio.teacher, times.ratio.student
        ('max', 'sorted')

    `inputs` is a list of arguments that the calls use in turn (a tuple in it is several arguments), or one argument for
    all calls. Without `inputs`, the function is called without arguments. `against` is another function for the same
    inputs: the two are interleaved in short blocks, from which their ratio is computed. At least `sessions` sessions
    run, each with its own warm-up; more follow until the relative width of the interval is below `precision`, or until
    `budget_s` seconds have passed. All sessions run in this process: `caveats` of the result describe the consequences.

    A function must not return before its work is done: on a GPU it has to wait for the device. Raises InputError for
    a function that fails or that returns unfinished work.
    """
    functions = {_name(fn): fn}
    if against is not None:
        other = _name(against)
        functions = {other if other not in functions else f"{other} (against)": against, **functions}
    if not (budget_s > 0 and math.isfinite(budget_s) and sessions >= 2 and 0 < precision < 1):
        message = f"budget_s is {budget_s}, sessions is {sessions}, precision is {precision}"
        raise InputError(message, "budget_s is above 0, sessions 2 or more, precision between 0 and 1")
    arguments = _arguments(inputs)
    calls = {name: Calls(function, arguments) for name, function in functions.items()}
    for name, of_function in calls.items():
        _try(name, of_function)
    with progress_display(progress) as display, machine_lock(display):
        display.stage("time", 1, 1)
        samples = timed_sessions(calls, _Config(budget_s, sessions, precision), display)
    return _times(samples, sessions, timed=_name(fn))


def timed_sessions(
    calls: Mapping[str, Calls], config: _Config, progress: Progress, clock: Clock = time.perf_counter_ns
) -> dict[str, Clustered]:
    """Return the times of all calls by name: sessions one after the other, in which the functions take turns."""
    rng = np.random.default_rng(0)
    parts: dict[str, list[Clustered]] = {name: [] for name in calls}
    session_ns = int(config.budget_s / max_sessions(config.sessions) * 1e9)
    begin, longest, number = clock(), 0, 0
    collecting = gc.isenabled()
    gc.disable()
    try:
        while True:
            started = clock()
            cap = WARM_UP_SHARE * session_ns / len(calls)
            ready = [_warm(name, of_function, cap, clock) for name, of_function in calls.items()]
            turns = Interleaving(ready, rng, clock)
            while turns.has_time(started + session_ns):
                turns.time_round()
            for name, times in zip(calls, turns.timed(), strict=True):
                arrays: dict[str, Any] = {"f/ns": times.ns, "f/block": times.block, "f/preempted": times.preempted}
                parts[name].append(session_calls(arrays, "f", number))
            gc.collect()
            number, longest, spent = number + 1, max(longest, clock() - started), clock() - begin
            progress.step(min(spent / 1e9, config.budget_s), config.budget_s, f"session {number}")
            if number >= config.sessions:
                samples = {name: join_sessions(of_function) for name, of_function in parts.items()}
                if _width(samples, config.sessions) <= config.precision or spent + longest > config.budget_s * 1e9:
                    return samples
    except TurnError as failed:
        raise _failure(list(calls)[failed.index], failed.error) from failed.error
    finally:
        if collecting:
            gc.enable()


def _warm(name: str, calls: Calls, cap_ns: float, clock: Clock) -> WarmUp:
    try:
        return warm_up(calls, cap_ns, clock)
    except Exception as error:
        raise _failure(name, error) from error


def _width(samples: Mapping[str, Clustered], sessions: int) -> float:
    plan = session_plan(None, sessions)
    if len(samples) == 2:
        return statistics.relative_width(statistics.paired_ratio(log_ratios(*samples.values()), plan=plan))
    (data,) = samples.values()
    return statistics.relative_width(statistics.clustered_quantiles(statistics.undisturbed(data), (0.5,), plan=plan)[0])


def _times(samples: Mapping[str, Clustered], sessions: int, timed: str) -> CallableTimes:
    plan = session_plan(None, sessions)
    measurements = [
        m for name in sorted(samples, key=lambda name: name != timed) for m in _latencies(name, samples[name], sessions)
    ]
    ratio = None
    if len(samples) == 2:
        teacher, student = samples
        estimate = statistics.paired_ratio(log_ratios(samples[teacher], samples[student]), plan=plan)
        ratio = estimated_pair(teacher, student, "latency_ratio", estimate)
    return CallableTimes(tuple(measurements), ratio, int(samples[timed].session.max()) + 1)


def _latencies(name: str, samples: Clustered, sessions: int) -> list[Measurement]:
    data = statistics.undisturbed(samples)
    # `across_runs` allows for a machine that changes more slowly than sessions follow each other.
    plan = replace(session_plan(None, sessions), first=None, correlated=False)
    enough = [p for p in _PERCENTILES if p == 50 or len(data.values) >= statistics.samples_needed(p)]
    quantiles = statistics.clustered_quantiles(data, [p / 100 for p in enough], plan=plan)
    estimates: dict[str, Estimate] = dict(zip((_PERCENTILES[p] for p in enough), quantiles, strict=True))
    estimates["latency_mean_ns"] = statistics.clustered_mean(data, plan=plan)
    return [
        estimated_across_runs(
            name,
            id_,
            estimate,
            RunSpread(declared(id_).run_to_run),
            source="in one process",
            unstable=instability(data),
        )
        for id_, estimate in estimates.items()
    ]


def _arguments(inputs: Any) -> Sequence[tuple[Any, ...]]:
    if inputs is None:
        return [()]
    if not isinstance(inputs, list):
        return [inputs if isinstance(inputs, tuple) else (inputs,)]
    if not inputs:
        raise InputError("inputs is an empty list", "give at least one argument, or leave inputs out")
    return [item if isinstance(item, tuple) else (item,) for item in inputs]


def _try(name: str, calls: Calls) -> None:
    """Call a function once; raises InputError if it fails, or returns before its work is done."""
    try:
        result = calls.run(*calls.arguments[0])
    except Exception as error:
        raise _failure(name, error) from error
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()
        hint = "time a function that does the work to its end: list(…) of a generator, asyncio.run(…) of a coroutine"
        raise InputError(f"{name} returns a {type(result).__name__}, whose work is not done yet", hint)
    if _on_device(result):
        hint = "wait for the device inside the function, and return nothing or a result on the CPU"
        raise InputError(f"{name} returns a result on a device, which may not be computed yet", hint)


def _on_device(result: object, depth: int = 3) -> bool:
    """Return whether a result, or one in its lists and dictionaries, is on a device, or computed in the background."""
    if isinstance(result, list | tuple | Mapping) and depth:
        inner = result.values() if isinstance(result, Mapping) else result
        return any(_on_device(one, depth - 1) for one in inner)
    kind = getattr(getattr(result, "device", None), "type", "cpu")  # of torch's tensors
    return kind != "cpu" or hasattr(result, "block_until_ready")  # the second of JAX's arrays


def _failure(name: str, error: Exception) -> InputError:
    return InputError(f"{name} failed: {type(error).__name__}: {first_line(error)}", "call it yourself to see where")


def _name(function: Callable[..., object]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _text(measurement: Measurement) -> str:
    value, interval = measurement.value, measurement.interval
    assert value is not None
    ends = [units.bound(units.time, end, value) for end in (interval.low, interval.high)] if interval else []
    bounds = f" [{', '.join(ends)}]" if ends else ""
    return f"median {units.time(value)}{bounds}, {measurement.n:,} calls"
