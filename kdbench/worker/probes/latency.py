"""One session of latency: all models loaded, warmed up, then timed in short interleaved blocks.

Result: `floor_ns`, and one entry a configuration of its `number`, `seconds`, `errors`, `warm_up_calls`, `call_ns` and
`together` (id to reason, to count, to median, to how many calls the clock times at once, where that is not one). The
.npz holds `{configuration}/{model}/ns`, the time of each call, and `{configuration}/{model}/block`, the round it was
in, and `…/preempted`, how often that block lost its core.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kdbench.machine.cores import pin
from kdbench.worker.channel import Channel
from kdbench.worker.faults import describe
from kdbench.worker.inputs import batch_inputs, prepare, sample_bytes
from kdbench.worker.jobs import JobModel, LatencyJob, TimedConfiguration
from kdbench.worker.loads import Calls, calls_per_step, load_of, time_calls
from kdbench.worker.runtimes import LoadedModel, runtime
from kdbench.worker.timing import WARM_UP_SHARE, Interleaving, Timed, TurnError, WarmUp, warm_up

T = TypeVar("T")

_DIFFERENT_INPUTS = 8
_INPUT_BYTES = 64 << 20  # of one model's inputs: large batches have fewer different inputs, down to one
_FLOOR_CALLS = 2000


def run(job: LatencyJob, channel: Channel) -> dict[str, Any]:
    """Measure every configuration of the job in turn; a model that fails is left out there."""
    gc.disable()
    session = Session(job, channel)
    floor = session.floor_ns(job.floor) if job.floor else None
    done = [session.measure(configuration) for configuration in job.configurations]
    with Path(job.samples).open("wb") as stream:
        np.savez(stream, **session.samples)  # type: ignore[arg-type]  # numpy's stub takes them for allow_pickle
    return {"floor_ns": floor, "configurations": done}


class Session:
    """The models loaded in this process, and the samples so far."""

    def __init__(self, job: LatencyJob, channel: Channel) -> None:
        self._job, self._models, self._channel = job, job.models, channel
        self._runtime = runtime(job.runtime)
        self._rng = np.random.default_rng([job.seed, job.session])
        self._total_s = sum(c.budget_s for c in job.configurations)
        self._before_s = 0.0
        self._threads = 0
        self._loaded: dict[int, LoadedModel] = {}
        self.samples: dict[str, NDArray[Any]] = {}
        self._errors: dict[str, str] = {}

    def floor_ns(self, floor: JobModel) -> float:
        """Return the median time of a call that computes nothing, the lower bound of every model here."""
        loaded = self._runtime.load(floor, provider=self._job.provider, threads=1)
        ns = np.empty(_FLOOR_CALLS, np.int64)
        time_calls(Calls(*loaded.bind([prepare(np.zeros((1, 1, 1, 1), np.uint8), floor)])), ns)
        return float(np.median(ns))

    def measure(self, configuration: TimedConfiguration) -> dict[str, Any]:
        """Warm up and time the models of a configuration; its budget includes the warm-up, not the loading.

        A model that fails is left out of this configuration; it may work in another.
        """
        number, budget_s = configuration.number, configuration.budget_s
        self._channel.batch(configuration.batch)
        self._errors = {}
        calls = self._working(configuration.models, lambda m: self._load(m, configuration))
        begin = time.perf_counter_ns()
        cap_ns = WARM_UP_SHARE * budget_s * 1e9 / max(len(calls), 1)
        ready = self._working(calls, lambda m: warm_up(calls[m], cap_ns))
        for m, timed in self._interleaved(ready, begin, configuration).items():
            key = f"{number}/{m}"
            self.samples |= {f"{key}/ns": timed.ns, f"{key}/block": timed.block, f"{key}/preempted": timed.preempted}
        self._before_s += budget_s
        return {
            "number": number,
            "seconds": (time.perf_counter_ns() - begin) / 1e9,
            "errors": self._errors,
            "warm_up_calls": {self._models[m].id: r.warm_up_calls for m, r in ready.items()},
            "call_ns": {self._models[m].id: r.call_ns for m, r in ready.items()},
            "together": {self._models[m].id: n for m, r in ready.items() if (n := calls_per_step(r.calls.run)) > 1},
        }

    def _working(self, models: Iterable[int], do: Callable[[int], T]) -> dict[int, T]:
        """Return the result of `do` for every model; those that fail are noted and left out."""
        done = {}
        for m in models:
            self._channel.model(self._models[m].id)
            try:
                done[m] = do(m)
            except self._runtime.faults as error:
                self._errors[self._models[m].id] = describe(error)
        return done

    def _load(self, m: int, configuration: TimedConfiguration) -> Calls:
        threads = configuration.threads
        if threads != self._threads:
            self._loaded.clear()
            self._threads = threads
            # A pool's threads inherit the cores of the thread that starts them.
            pin(self._job.cores and self._job.cores[-threads:])
        model = self._models[m]
        if m not in self._loaded:
            self._loaded[m] = self._runtime.load(model, provider=self._job.provider, threads=threads)
        calls = Calls(*self._loaded[m].bind(_inputs(model, configuration.batch)))
        calls.run(*calls.arguments[0])  # a compiler's or an algorithm search's seconds belong to loading
        return calls

    def _interleaved(
        self, ready: dict[int, WarmUp], begin_ns: int, configuration: TimedConfiguration
    ) -> dict[int, Timed]:
        """Time the models in turns; one that fails is dropped from `ready`, and the others start again."""
        deadline_ns = begin_ns + int(configuration.budget_s * 1e9)
        while ready:
            turns = Interleaving(list(ready.values()), self._rng, load=load_of(configuration))
            try:
                while turns.has_time(deadline_ns):
                    turns.time_round()
                    self._channel.step(self._before_s + (time.perf_counter_ns() - begin_ns) / 1e9, self._total_s)
                return dict(zip(ready, turns.timed()))
            except TurnError as failed:
                if not isinstance(failed.error, self._runtime.faults):
                    raise
                m = list(ready)[failed.index]
                self._errors[self._models[m].id] = describe(failed.error)
                del ready[m]
        return {}


def _inputs(model: JobModel, batch: int) -> list[NDArray[np.generic]]:
    """Return different batches of prepared inputs, as many as _INPUT_BYTES admit."""
    different = min(max(_INPUT_BYTES // (sample_bytes(model) * batch), 1), _DIFFERENT_INPUTS)
    prepared = batch_inputs(model, different * batch)
    return [np.ascontiguousarray(part) for part in prepared.reshape(different, batch, *model.shape)]
