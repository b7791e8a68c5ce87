"""Energy of models that are called back to back in windows, and of the idle machine before and after each round.

The result has these keys:

- `sources` are the meters that worked to the end, `dropped` maps the others to the reason, `period_ns` has one value
  per source, and `length_ns` is the length of a window;
- `idle` has a window before the rounds and one after each; `windows` has for each run one per round, none if its model
  failed. A window has `calls`, and `spans` of joules and nanoseconds, one per source;
- `errors` maps ids of models to reasons; `fault` is why the leading source failed, or null. With a fault, these two
  keys are the only ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from typing import Any

from kdbench.meters.meter import METERS, Meter, MeterFailedError
from kdbench.worker.channel import Channel
from kdbench.worker.energy_window import Window, update_period_ns, window
from kdbench.worker.faults import describe
from kdbench.worker.inputs import batch_inputs
from kdbench.worker.jobs import EnergyJob
from kdbench.worker.loads import Calls
from kdbench.worker.runtimes.onnxruntime import FAULTS, LoadedModel
from kdbench.worker.timing import warm_up

_WARM_UP_NS = 500_000_000
_NAP_S = 0.02  # long enough that waking up is negligible, and short compared to a window

Call = Callable[[], object]


def run(job: EnergyJob, channel: Channel) -> dict[str, Any]:
    """Meter the windows of every run of the job. Threads do not spin: between calls that would use energy too."""
    errors: dict[str, str] = {}
    dropped: dict[str, str] = {}
    calls = _warm_calls(job, errors, channel)
    with ExitStack() as stack:
        counters = [stack.enter_context(closing(METERS.get(name)())) for name in job.sources]
        while True:
            used = [counter for counter in counters if counter.name not in dropped]
            try:
                windows = _windows(used, calls, job, channel)
            except MeterFailedError as error:
                if error.name == used[0].name:
                    return {"errors": errors, "fault": str(error)}
                dropped[error.name] = str(error)  # again, without it
            else:
                return {**windows, "dropped": dropped, "errors": errors, "fault": None}


def _windows(counters: list[Meter], calls: list[Call | None], job: EnergyJob, channel: Channel) -> dict[str, Any]:
    """Return the windows: each round has the runs in the reverse order of the one before, so that drifts cancel."""
    periods_ns = [update_period_ns(counter) for counter in counters]
    length_ns = max(job.least_ns, job.least_updates * periods_ns[0])

    def measure(call: Call) -> Window:
        return window(counters, call, length_ns, job.settle_ns, time.monotonic_ns, period_ns=periods_ns[0])

    nap = partial(time.sleep, _NAP_S)
    idle = [measure(nap)]
    windows: list[list[Window]] = [[] for _ in calls]
    order = [(number, call) for number, call in enumerate(calls) if call is not None]
    for turn in range(job.rounds):
        for position, (number, call) in enumerate(order if turn % 2 == 0 else order[::-1]):
            windows[number].append(measure(call))
            channel.step(turn * len(order) + position + 1, job.rounds * len(order))
        idle.append(measure(nap))
    return {
        "sources": [counter.name for counter in counters],
        "period_ns": periods_ns,
        "length_ns": length_ns,
        "idle": [asdict(window) for window in idle],
        "windows": [[asdict(window) for window in run_windows] for run_windows in windows],
    }


def _warm_calls(job: EnergyJob, errors: dict[str, str], channel: Channel) -> list[Call | None]:
    """Return a warm call of each run; None if its model failed, with the reason in `errors`."""
    models = {model.id: model for model in job.models}
    loaded: dict[str, LoadedModel] = {}
    calls: list[Call | None] = []
    for id_, batch in job.runs:
        channel.model(id_)
        try:
            if id_ not in loaded:
                loaded[id_] = LoadedModel(models[id_], provider=job.provider, threads=job.threads, spinning=False)
            execute, (arguments,) = loaded[id_].bind([batch_inputs(models[id_], batch)])
            warm_up(Calls(execute, [arguments]), _WARM_UP_NS)
            calls.append(partial(execute, *arguments))
        except FAULTS as error:
            errors[id_] = describe(error)
            calls.append(None)
    return calls
