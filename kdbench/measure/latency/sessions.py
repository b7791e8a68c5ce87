"""Sessions of latency: all models together in fresh processes, one after the other.

Sessions are added until the headline ratios are known precisely enough or the budget is spent.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.measure.bench_model import SEED, BenchModel
from kdbench.measure.context import ONNXRUNTIME, Context
from kdbench.measure.latency.configurations import Configuration, configurations
from kdbench.measure.latency.precision import Samples, headline_width, session_plan
from kdbench.measure.staging import null_model
from kdbench.progress import SubProgress
from kdbench.results.samples import join_sessions, session_calls
from kdbench.statistics import PLAIN, Clustered, Plan
from kdbench.worker.jobs import LatencyJob, TimedConfiguration

# The budget is for so many times the least number of sessions: more than half of it is there to narrow intervals.
_MOST_FOR_ONE = 2.5
_OVERHEAD_S = 0.5  # of a session, before one has shown it: starting a process, loading models
_LEAST_SHARE = 0.3  # of a session's time is spent timing, however long the models take to load


@dataclass(frozen=True)
class Sampled:
    """The samples of all sessions.

    `samples`, `failed` (why there are no samples), `warm_up_calls` (one a session) and `call_ns` (the median warm call,
    one a session) are by model and configuration number; `floor_ns` is one a session; `seconds` is the time of all
    sessions, process starts included. `width` is the widest headline interval at the end, as a share.
    """

    configurations: tuple[Configuration, ...]
    samples: Samples = field(default_factory=dict)
    failed: Mapping[tuple[str, int], str] = field(default_factory=dict)
    floor_ns: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    warm_up_calls: Mapping[tuple[str, int], list[int]] = field(default_factory=dict)
    call_ns: Mapping[tuple[str, int], list[float]] = field(default_factory=dict)
    sessions: int = 0
    seconds: float = 0.0
    width: float = np.inf
    cores: tuple[int, ...] | None = None
    plan: Plan = PLAIN


def sample(context: Context, models: Sequence[BenchModel], seed: int = SEED) -> Sampled:
    """Run sessions one after the other, each a fresh process (one a runtime) with every model in it.

    There are `config.sessions` at least; then they go on until `headline_width` is below `config.precision` or another
    session would end after `config.budget_s`. A model that ends its process is left out from then on, and its samples
    are dropped; so are those of one that fails in any session. Raises MeasurementError when a session fails without one
    model to blame.
    """
    config = context.config
    most = math.ceil(_MOST_FOR_ONE * config.sessions)
    sessions = _Sessions(context, models, config.budget_s / most, seed)
    progress = SubProgress(context.progress, 0, 1, "")
    begin = time.monotonic()
    longest_s = 0.0
    while True:
        number = sessions.collected.sessions
        session_begin = time.monotonic()
        sessions.run(number, progress.part(min(number, most - 1), most, f"session {number + 1}"))
        now = time.monotonic()
        longest_s = max(longest_s, now - session_begin)
        if number + 1 < config.sessions:
            continue
        sampled = sessions.collected.sampled(now - begin)
        if sampled.width <= config.precision or now - begin + longest_s > config.budget_s:
            return sampled


class _Sessions:
    """Runs sessions that take about `session_s`, including the start of processes and the loading of models."""

    def __init__(self, context: Context, models: Sequence[BenchModel], session_s: float, seed: int) -> None:
        config = context.config
        self._context, self._models, self._config = context, models, config
        self._session_s, self._seed = session_s, seed
        self._overhead_s: dict[str, float] = {}
        self._begin_s = 0.0
        self._floor = null_model(context.folder)
        self._samples = context.folder / "samples.npz"
        cores = context.runner.cores
        plan = session_plan(cores, config.sessions)
        self.collected = _Collected(models, configurations(models, config), cores, plan)

    def run(self, session: int, progress: SubProgress) -> None:
        """Run session number `session`, one process a runtime."""
        runtimes, ids = self._config.runtime, [model.id for model in self._models]
        for number, runtime in enumerate(runtimes):
            part = progress.part(number, len(runtimes), progress.detail)
            lost = self.collected.lost.setdefault(runtime, {})

            def job_for(_: Sequence[str], runtime: str = runtime) -> LatencyJob | None:
                return self._job(runtime, session)

            result = self._context.runner.run_surviving(
                ids, job_for, lost, part, turn=session, threads=max(self._config.threads), monitor=True
            )
            if result is None:
                continue
            timed_s = sum(configuration["seconds"] for configuration in result["configurations"])
            self._overhead_s[runtime] = time.monotonic() - self._begin_s - timed_s
            self.collected.add(session, result, self._samples)
        self.collected.sessions += 1

    def _timed_s(self, runtime: str) -> float:
        """Return how long a session times calls, in a process that takes its time to begin."""
        left = self._session_s - self._overhead_s.get(runtime, _OVERHEAD_S) * len(self._config.runtime)
        return max(left, _LEAST_SHARE * self._session_s)

    def _job(self, runtime: str, session: int) -> LatencyJob | None:
        self._begin_s = time.monotonic()
        remaining = self.collected.remaining(runtime, self._timed_s(runtime))
        if not remaining:
            return None
        return LatencyJob(
            runtime=runtime,
            models=tuple(self._context.jobs[model.id] for model in self._models),
            configurations=remaining,
            provider=self._config.provider,
            threads=max(self._config.threads),
            seed=self._seed,
            session=session,
            floor=self._floor if runtime == ONNXRUNTIME else None,
            samples=str(self._samples),
        )


@dataclass
class _Collected:
    """The samples of the sessions so far; `lost` maps runtimes to the models that ended a process, with the reason."""

    models: Sequence[BenchModel]
    configurations: tuple[Configuration, ...]
    cores: tuple[int, ...] | None
    plan: Plan
    sessions: int = 0
    lost: dict[str, dict[str, str]] = field(default_factory=dict)
    _errors: dict[tuple[str, int], str] = field(default_factory=dict)
    _parts: dict[tuple[str, int], list[Clustered]] = field(default_factory=dict)
    _warm_up_calls: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    _call_ns: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    _floor_ns: list[float] = field(default_factory=list)

    @property
    def failed(self) -> dict[tuple[str, int], str]:
        """Why a model has no samples in a configuration."""
        lost = {
            (id_, number): reason
            for number, configuration in enumerate(self.configurations)
            for id_, reason in self.lost.get(configuration.runtime, {}).items()
        }
        return lost | self._errors

    def remaining(self, runtime: str, timed_s: float) -> tuple[TimedConfiguration, ...]:
        """Return the configurations of `runtime` with the models that have not failed, for a session of `timed_s`."""
        remaining, failed = [], self.failed
        for number, c in enumerate(self.configurations):
            models = tuple(m for m in c.models if (self.models[m].id, number) not in failed)
            if c.runtime == runtime and models:
                remaining.append(c.timed(number, models, c.share * timed_s))
        return tuple(remaining)

    def add(self, session: int, result: Mapping[str, Any], file: Path) -> None:
        """Add the result of a session's process and the samples in `file`."""
        if result["floor_ns"] is not None:
            self._floor_ns.append(result["floor_ns"])
        with np.load(file, allow_pickle=False) as arrays:
            for configuration in result["configurations"]:
                number = configuration["number"]
                self._errors |= {(id_, number): reason for id_, reason in configuration["errors"].items()}
                for m in self.configurations[number].models:
                    key = (self.models[m].id, number)
                    if (part := session_calls(arrays, f"{number}/{m}", session)) is not None:
                        self._parts.setdefault(key, []).append(part)
                        self._warm_up_calls.setdefault(key, []).append(configuration["warm_up_calls"][key[0]])
                        self._call_ns.setdefault(key, []).append(configuration["call_ns"][key[0]])
        file.unlink()

    def sampled(self, seconds: float) -> Sampled:
        """Return everything collected, without the samples of models that failed."""
        failed = self.failed
        samples = {key: join_sessions(parts) for key, parts in self._parts.items() if key not in failed}
        return Sampled(
            self.configurations,
            samples,
            failed,
            np.array(self._floor_ns),
            self._warm_up_calls,
            self._call_ns,
            self.sessions,
            seconds,
            headline_width(self.models, self.configurations, samples, self.plan),
            self.cores,
            self.plan,
        )
