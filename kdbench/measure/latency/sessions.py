"""Sessions of latency: all models together in fresh processes, one after the other.

Sessions are added until the headline ratios are known precisely enough or the budget is spent. numpy, `statistics` and
`worker` alone: a device that measures a bundle runs this file too.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.measure.latency.configurations import Configuration, configurations
from kdbench.measure.latency.ratios import Key, Samples, headline_width, session_plan
from kdbench.measure.runner import Runner
from kdbench.measure.timed import ONNXRUNTIME, SEED, TimedModel, TimingConfig, timed_runtimes
from kdbench.progress import Progress, SubProgress
from kdbench.results.samples import join_sessions, session_calls
from kdbench.statistics import PLAIN, Clustered, Plan
from kdbench.worker.jobs import JobModel, LatencyJob

# The budget allows this multiple of the least number of sessions: more than half of it serves to narrow intervals.
_BUDGET_MULTIPLE = 2.5
_OVERHEAD_S = 0.5  # of a session, before one has shown it: starting a process, loading models
_MIN_SHARE = 0.3  # of a session's usual time is spent timing, however long the models take to load


@dataclass(frozen=True)
class SessionSamples:
    """The samples of all sessions.

    `samples`, `failed` (why there are no samples), `warm_up_calls` (one a session), `call_ns` (the median warm call,
    one a session) and `together` (how many calls are timed at once, where that is not one) are by model and
    configuration number; `floor_ns` is one a session; `seconds` is the time of all sessions, process starts included.
    `width` is the widest headline interval at the end, as a share.
    """

    configurations: tuple[Configuration, ...]
    samples: Samples = field(default_factory=dict)
    failed: Mapping[Key, str] = field(default_factory=dict)
    floor_ns: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    warm_up_calls: Mapping[Key, list[int]] = field(default_factory=dict)
    call_ns: Mapping[Key, list[float]] = field(default_factory=dict)
    together: Mapping[Key, int] = field(default_factory=dict)
    sessions: int = 0
    seconds: float = 0.0
    width: float = np.inf
    cores: tuple[int, ...] | None = None
    plan: Plan = PLAIN

    def undisturbed(self, key: Key) -> Clustered:
        """Return the samples that latencies are estimated from; all of random arrivals, whose queue has a memory."""
        samples = self.samples[key]
        return samples if self.configurations[key[1]].mode == "server" else statistics.undisturbed(samples)


class SessionContext(Protocol):
    """What sessions need of a measurement: the models' `jobs` by id, what runs processes, and where."""

    @property
    def config(self) -> TimingConfig:
        """The settings."""

    @property
    def jobs(self) -> Mapping[str, JobModel]:
        """The models as measuring processes see them."""

    @property
    def runner(self) -> Runner:
        """What runs the processes."""

    @property
    def folder(self) -> Path:
        """The folder for the processes' files."""

    @property
    def progress(self) -> Progress:
        """Where progress is reported."""

    @property
    def null(self) -> JobModel:
        """A model that computes nothing."""


class Session(NamedTuple):
    """What a session's process returned, and where its samples are; nothing of the two if no model was left.

    `lost` are the models that ended a process of this `runtime` so far, with the reason; `seconds` the session's time.
    """

    number: int
    runtime: str
    result: Mapping[str, Any] | None
    samples: Path | None
    lost: Mapping[str, str]
    seconds: float


class Archive(Protocol):
    """Where sessions are kept one by one, so that an interrupted measurement continues from them."""

    def stored(self) -> Iterable[Session]:
        """Return the sessions of earlier calls, in order."""

    def keep(self, session: Session) -> None:
        """Keep a session; its file of samples is removed afterwards."""


def sample(
    context: SessionContext, models: Sequence[TimedModel], seed: int = SEED, archive: Archive | None = None
) -> SessionSamples:
    """Run sessions one after the other, each a fresh process (one a runtime) with every model in it.

    At least `config.sessions` run; more follow until `headline_width` is below `config.precision` or another session
    would end after `config.budget_s`. A model that ends its process is excluded from then on. A model that fails in any
    session loses its samples. Sessions in the `archive` count, with their time. Raises MeasurementError if a session
    fails and no single model is to blame.
    """
    config, cores = context.config, context.runner.cores
    most = max_sessions(config.sessions)
    collected = Collector(models, config)
    longest_s, spent_s = 0.0, 0.0
    for session in archive.stored() if archive else ():
        collected.add(session)
        spent_s, longest_s = spent_s + session.seconds, max(longest_s, session.seconds)
    sessions = _Sessions(context, models, seed, collected)
    progress = SubProgress(context.progress, 0, 1, "")
    begin = time.monotonic() - spent_s
    while True:
        number, elapsed_s = collected.sessions, time.monotonic() - begin
        if number >= config.sessions:
            sampled = collected.sampled(elapsed_s, cores)
            if sampled.width <= config.precision or elapsed_s + longest_s > config.budget_s:
                return sampled
        part = progress.part(min(number, most - 1), most, f"session {number + 1}")
        session_begin = time.monotonic()
        for session in sessions.run(number, part):
            if archive is not None:
                archive.keep(session)
            collected.add(session)
            if session.samples is not None:
                session.samples.unlink()
        longest_s = max(longest_s, time.monotonic() - session_begin)


class Collector:
    """The samples of the sessions so far. Models that failed in any of them lose theirs at the end."""

    def __init__(self, models: Sequence[TimedModel], config: TimingConfig) -> None:
        self._models, self._config = models, config
        self.configurations = configurations(models, config)
        self.sessions = 0
        self.lost: dict[str, dict[str, str]] = {runtime: {} for runtime in config.runtime}
        self.failed: dict[Key, str] = {}
        self._calls: dict[Key, list[Clustered]] = defaultdict(list)
        self._warm_up_calls: dict[Key, list[int]] = defaultdict(list)
        self._call_ns: dict[Key, list[float]] = defaultdict(list)
        self._together: dict[Key, int] = {}
        self._floor_ns: list[float] = []

    def add(self, session: Session) -> None:
        """Add a session of one runtime."""
        self.sessions = session.number + 1
        lost = self.lost[session.runtime]
        lost.update(session.lost)
        numbers = [c.number for c in self.configurations if c.runtime == session.runtime]
        self.failed = {**{(id_, n): reason for n in numbers for id_, reason in lost.items()}, **self.failed}
        result = session.result
        if result is None or session.samples is None:
            return
        if result["floor_ns"] is not None:
            self._floor_ns.append(result["floor_ns"])
        by_number = {configuration["number"]: configuration for configuration in result["configurations"]}
        for number, configuration in by_number.items():
            self.failed.update({(id_, number): reason for id_, reason in configuration["errors"].items()})
        for key, calls in calls_of_session(session.samples, self._models, session.number).items():
            id_, number = key
            self._calls[key].append(calls)
            self._warm_up_calls[key].append(by_number[number]["warm_up_calls"][id_])
            self._call_ns[key].append(by_number[number]["call_ns"][id_])
            if (count := by_number[number].get("together", {}).get(id_, 1)) > 1:
                self._together[key] = max(count, self._together.get(key, 1))

    def sampled(self, seconds: float, cores: tuple[int, ...] | None, *, shared: bool | None = None) -> SessionSamples:
        """Return everything collected, without the samples of models that failed; it took `seconds` on `cores`.

        `shared` is whether the machine has neighbours (`session_plan`).
        """
        samples = {key: join_sessions(parts) for key, parts in self._calls.items() if key not in self.failed}
        plan = session_plan(cores, self._config.sessions, shared=shared)
        return SessionSamples(
            self.configurations,
            samples,
            self.failed,
            np.array(self._floor_ns),
            self._warm_up_calls,
            self._call_ns,
            self._together,
            self.sessions,
            seconds,
            headline_width(self._models, self.configurations, samples, plan),
            cores,
            plan,
        )


class _Sessions:
    """Runs sessions without the models that were lost before."""

    def __init__(self, context: SessionContext, models: Sequence[TimedModel], seed: int, collected: Collector) -> None:
        self._context, self._models, self._config = context, models, context.config
        self._seed, self._collected = seed, collected
        self._overhead_s: dict[str, float] = dict.fromkeys(context.config.runtime, _OVERHEAD_S)
        self._floor = context.null
        self._file = context.folder / "samples.npz"

    def run(self, session: int, progress: SubProgress) -> Iterable[Session]:
        """Run session number `session`, one process a runtime, and yield what each returned.

        Every other session has the runtimes in the reverse order.
        """
        runtimes = timed_runtimes(self._config)[:: -1 if session % 2 else 1]
        threads = max(self._config.threads)
        for number, runtime in enumerate(runtimes):
            begin = time.monotonic()
            lost, part = self._collected.lost[runtime], progress.part(number, len(runtimes), progress.detail)
            already_lost, job = len(lost), self._job(runtime, session, len(runtimes))
            result = self._context.runner.run_surviving(job, lost, part, turn=session, threads=threads, monitor=True)
            seconds = time.monotonic() - begin
            if result is not None and len(lost) == already_lost:  # otherwise more than one process started
                timed_s = sum(configuration["seconds"] for configuration in result["configurations"])
                self._overhead_s[runtime] = seconds - timed_s
            yield Session(session, runtime, result, None if result is None else self._file, dict(lost), seconds)

    def _job(self, runtime: str, session: int, processes: int) -> LatencyJob:
        """Return the job of one of a session's `processes`: configurations of `runtime`, without models that failed."""
        timed_s = timing_s(self._config, self._overhead_s[runtime] * processes)
        ids, failed = [model.id for model in self._models], self._collected.failed
        remaining = [
            replace(
                c, models=tuple(m for m in c.models if (ids[m], c.number) not in failed), budget_s=c.share * timed_s
            )
            for c in self._collected.configurations
            if c.runtime == runtime
        ]
        return LatencyJob(
            runtime=runtime,
            models=tuple(self._context.jobs[id_] for id_ in ids),
            configurations=tuple(remaining),
            provider=self._config.provider,
            threads=max(self._config.threads),
            seed=self._seed,
            session=session,
            floor=self._floor if runtime == ONNXRUNTIME else None,
            samples=str(self._file),
        )


def timing_s(config: TimingConfig, overhead_s: float) -> float:
    """Return for how long a session times calls, when starting its processes and loading models takes `overhead_s`.

    Sessions are short, so that the budget allows more than the planned number of them. But a session that starts for
    longer than it measures shows little, so it times for as long as it starts if the planned sessions then still fit.
    """
    session_s, longest_s = config.budget_s / max_sessions(config.sessions), config.budget_s / config.sessions
    return max(session_s - overhead_s, min(overhead_s, longest_s - overhead_s), _MIN_SHARE * session_s)


def max_sessions(least: int) -> int:
    """Return how many sessions the budget allows, at their usual length, where `least` is the fewest."""
    return math.ceil(_BUDGET_MULTIPLE * least)


def calls_of_session(file: Path, models: Sequence[TimedModel], session: int) -> dict[Key, Clustered]:
    """Return the calls that a session's process stored, by model and configuration number."""
    calls = {}
    with np.load(file, allow_pickle=False) as arrays:
        for name in arrays:
            number, model, array = name.split("/")
            if array == "ns":
                calls[models[int(model)].id, int(number)] = session_calls(arrays, f"{number}/{model}", session)
    return calls
