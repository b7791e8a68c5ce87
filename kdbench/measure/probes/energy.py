"""Energy of models called back to back: windows in turn, the idle machine before and after, models loaded.

Job: `models`, `provider`, `threads`, `source` (an energy source's name), `rounds`. Result: `period_ns` (the counter's),
`idle` (two windows), `windows` (id to one a round; each `energy_j`, `duration_ns`, `calls`), `errors` (id to reason).
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from kdbench.measure.energy.source import SOURCES
from kdbench.measure.energy.window import update_period_ns, window, window_ns
from kdbench.measure.inputs import prepare
from kdbench.measure.jobs import JobModel
from kdbench.measure.latency.interleaved import warm_up
from kdbench.measure.latency.loads import Calls
from kdbench.measure.runtimes import describe
from kdbench.measure.runtimes.onnxruntime import FAULTS, Target
from kdbench.measure.worker import Channel

_WARM_UP_NS = 500_000_000
_IDLE_NAP_S = 0.001


def run(job: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Take the windows of every model of the job. Threads do not spin: between calls that would be energy too."""
    counter = SOURCES.get(job["source"])()
    models = [JobModel.from_json(value) for value in job["models"]]
    calls: dict[str, Callable[[], object]] = {}
    errors: dict[str, str] = {}
    for model in models:
        channel.model(model.id)
        try:
            calls[model.id] = _warm_call(model, job["provider"], job["threads"])
        except FAULTS as error:
            errors[model.id] = describe(error)
    period_ns = update_period_ns(counter)
    length_ns = window_ns(period_ns)
    idle = [window(counter, _nap, length_ns, time.monotonic_ns)]
    windows: dict[str, list[dict[str, Any]]] = {id_: [] for id_ in calls}
    for number in range(job["rounds"]):
        for position, (id_, call) in enumerate(calls.items()):
            windows[id_].append(asdict(window(counter, call, length_ns, time.monotonic_ns)))
            channel.step(number * len(calls) + position + 1, job["rounds"] * len(calls))
    idle.append(window(counter, _nap, length_ns, time.monotonic_ns))
    return {"period_ns": period_ns, "idle": [asdict(each) for each in idle], "windows": windows, "errors": errors}


def _warm_call(model: JobModel, provider: str, threads: int) -> Callable[[], object]:
    target = Target(model, provider=provider, threads=threads, spinning=False)
    images = np.load(model.images, mmap_mode="r")
    execute, (arguments,) = target.bind([prepare(images[: model.fixed_batch or 1], model)])
    warm_up(Calls(execute, [arguments]), _WARM_UP_NS)

    def call() -> object:
        return execute(*arguments)

    return call


def _nap() -> None:
    time.sleep(_IDLE_NAP_S)
