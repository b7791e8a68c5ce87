"""Latency sessions: fresh processes, one after the other, each of which interleaves all models.

Sessions are added until the intervals of the headline ratios are narrow enough or the budget is spent. Imports only
numpy, `statistics` and `worker`: a device that measures a bundle runs this file too.
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

# The budget allows this multiple of `config.sessions`, so that more than half of it serves to narrow intervals.
_BUDGET_MULTIPLE = 2.5
_OVERHEAD_S = 0.5  # estimate for starting a process and loading models, until a session has measured it
_MIN_TIMED_SHARE = 0.3  # a session times calls for this share of its usual length, however long the models take to load


@dataclass(frozen=True)
class SessionSamples:
    """The samples of all sessions; mappings are by model and configuration number.

    samples, failed: the times of calls; why there are none.
    floor_ns: the time of a call of the null model, one per session.
    warm_up_calls, call_ns: one per session: the number of warm-up calls, and the median time of a warm call.
    calls_at_once: how many calls are timed together because the runtime's clock is coarse, where more than one.
    seconds: the time of all sessions, process starts included.
    width: that of the widest headline interval at the end, as a share.
    """

    configurations: tuple[Configuration, ...]
    samples: Samples = field(default_factory=dict)
    failed: Mapping[Key, str] = field(default_factory=dict)
    floor_ns: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    warm_up_calls: Mapping[Key, list[int]] = field(default_factory=dict)
    call_ns: Mapping[Key, list[float]] = field(default_factory=dict)
    calls_at_once: Mapping[Key, int] = field(default_factory=dict)
    sessions: int = 0
    seconds: float = 0.0
    width: float = np.inf
    cores: tuple[int, ...] | None = None
    plan: Plan = PLAIN

    def undisturbed(self, key: Key) -> Clustered:
        """Return the samples of undisturbed blocks; all of random arrivals, as a disturbance delays later calls too."""
        samples = self.samples[key]
        return samples if self.configurations[key[1]].mode == "server" else statistics.undisturbed(samples)


class SessionContext(Protocol):
    """What sessions need of a measurement."""

    @property
    def config(self) -> TimingConfig:
        """The settings."""

    @property
    def jobs(self) -> Mapping[str, JobModel]:
        """The models as measuring processes need them, by id."""

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
    """The part of a session that ran in one runtime.

    number: that of the session.
    result, samples: what the process returned, and its file of samples; None if no model was left.
    lost: why models ended a process of this runtime, in this or an earlier session, by model.
    seconds: how long this part took.
    """

    number: int
    runtime: str
    result: Mapping[str, Any] | None
    samples: Path | None
    lost: Mapping[str, str]
    seconds: float


class Archive(Protocol):
    """Stores sessions one by one, so that an interrupted measurement continues after the last one."""

    def stored(self) -> Iterable[Session]:
        """Return the sessions of earlier calls, in order."""

    def add(self, session: Session) -> None:
        """Store a session; its file of samples is removed afterwards."""


def sample(
    context: SessionContext, models: Sequence[TimedModel], seed: int = SEED, archive: Archive | None = None
) -> SessionSamples:
    """Run sessions one after the other, each a fresh process per runtime with all models.

    At least `config.sessions` run; more follow until `headline_width` is at most `config.precision` or another session
    would end after `config.budget_s`. Sessions in the `archive`, and their time, count as well. A model that ends its
    process is excluded from the later sessions. The samples of a model that fails in any session are dropped. Raises
    MeasurementError if a process ends unexpectedly and it is unknown which model caused it.
    """
    config, cores = context.config, context.runner.cores
    maximum = max_sessions(config.sessions)
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
        part = progress.part(min(number, maximum - 1), maximum, f"session {number + 1}")
        session_begin = time.monotonic()
        for session in sessions.run(number, part):
            if archive is not None:
                archive.add(session)
            collected.add(session)
            if session.samples is not None:
                session.samples.unlink()
        longest_s = max(longest_s, time.monotonic() - session_begin)


class Collector:
    """The samples of the sessions so far; `sampled` drops those of models that failed in any session."""

    def __init__(self, models: Sequence[TimedModel], config: TimingConfig) -> None:
        self._models, self._config = models, config
        self.configurations = configurations(models, config)
        self.sessions = 0
        self.lost: dict[str, dict[str, str]] = {runtime: {} for runtime in config.runtime}
        self.failed: dict[Key, str] = {}
        self._calls: dict[Key, list[Clustered]] = defaultdict(list)
        self._warm_up_calls: dict[Key, list[int]] = defaultdict(list)
        self._call_ns: dict[Key, list[float]] = defaultdict(list)
        self._calls_at_once: dict[Key, int] = {}
        self._floor_ns: list[float] = []

    def add(self, session: Session) -> None:
        """Add one runtime's part of a session."""
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
                self._calls_at_once[key] = max(count, self._calls_at_once.get(key, 1))

    def sampled(self, seconds: float, cores: tuple[int, ...] | None, *, shared: bool | None = None) -> SessionSamples:
        """Return all samples except those of models that failed.

        seconds, cores: the time of all sessions, and the cores that they took turns on.
        shared: whether other virtual machines share the hardware, as in `session_plan`.
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
            self._calls_at_once,
            self.sessions,
            seconds,
            headline_width(self._models, self.configurations, samples, plan),
            cores,
            plan,
        )


class _Sessions:
    """Runs sessions without the models that failed in earlier ones."""

    def __init__(self, context: SessionContext, models: Sequence[TimedModel], seed: int, collected: Collector) -> None:
        self._context, self._models, self._config = context, models, context.config
        self._seed, self._collected = seed, collected
        self._overhead_s: dict[str, float] = dict.fromkeys(context.config.runtime, _OVERHEAD_S)
        self._floor = context.null
        self._file = context.folder / "samples.npz"

    def run(self, session: int, progress: SubProgress) -> Iterable[Session]:
        """Run session number `session`, one process per runtime, and yield the part of each.

        Every second session runs them in reverse order.
        """
        runtimes = timed_runtimes(self._config)[:: -1 if session % 2 else 1]
        threads = max(self._config.threads)
        for number, runtime in enumerate(runtimes):
            begin = time.monotonic()
            lost, part = self._collected.lost[runtime], progress.part(number, len(runtimes), progress.detail)
            lost_before, job = len(lost), self._job(runtime, session, len(runtimes))
            result = self._context.runner.run_remaining(job, lost, part, turn=session, threads=threads, monitor=True)
            seconds = time.monotonic() - begin
            if result is not None and len(lost) == lost_before:  # otherwise more than one process started
                timed_s = sum(configuration["seconds"] for configuration in result["configurations"])
                self._overhead_s[runtime] = seconds - timed_s
            yield Session(session, runtime, result, None if result is None else self._file, dict(lost), seconds)

    def _job(self, runtime: str, session: int, processes: int) -> LatencyJob:
        """Return the job of one of a session's `processes`: configurations of `runtime` without models that failed."""
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
    """Return for how long a session times calls if starting its processes and loading models takes `overhead_s`.

    Sessions are short, so that the budget allows more than `config.sessions`. If starting a session takes longer than
    its measuring, it measures for as long as the start takes, if the budget still allows `config.sessions`.
    """
    session_s, longest_s = config.budget_s / max_sessions(config.sessions), config.budget_s / config.sessions
    return max(session_s - overhead_s, min(overhead_s, longest_s - overhead_s), _MIN_TIMED_SHARE * session_s)


def max_sessions(minimum: int) -> int:
    """Return how many sessions of the usual length the budget allows, if at least `minimum` have to run."""
    return math.ceil(_BUDGET_MULTIPLE * minimum)


def calls_of_session(file: Path, models: Sequence[TimedModel], session: int) -> dict[Key, Clustered]:
    """Return the calls that a session's process stored, by model and configuration number."""
    calls = {}
    with np.load(file, allow_pickle=False) as arrays:
        for name in arrays:
            number, model, array = name.split("/")
            if array == "ns":
                calls[models[int(model)].id, int(number)] = session_calls(arrays, f"{number}/{model}", session)
    return calls
