"""Sessions of latency: all models together in fresh processes, one after the other.

Sessions are added until the headline ratios are known precisely enough or the budget is spent.
"""

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from kdbench.worker.jobs import LatencyJob

Key = tuple[str, int]  # a model's id and a configuration's number

# The budget allows this multiple of the least number of sessions: more than half of it serves to narrow intervals.
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
    failed: Mapping[Key, str] = field(default_factory=dict)
    floor_ns: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    warm_up_calls: Mapping[Key, list[int]] = field(default_factory=dict)
    call_ns: Mapping[Key, list[float]] = field(default_factory=dict)
    sessions: int = 0
    seconds: float = 0.0
    width: float = np.inf
    cores: tuple[int, ...] | None = None
    plan: Plan = PLAIN


def sample(context: Context, models: Sequence[BenchModel], seed: int = SEED) -> Sampled:
    """Run sessions one after the other, each a fresh process (one a runtime) with every model in it.

    At least `config.sessions` run; more follow until `headline_width` is below `config.precision` or another session
    would end after `config.budget_s`. A model that ends its process is left out from then on. A model that fails in any
    session loses its samples. Raises MeasurementError if a session fails and no single model is to blame.
    """
    config = context.config
    most = math.ceil(_MOST_FOR_ONE * config.sessions)
    sessions = _Sessions(context, models, config.budget_s / most, seed)
    progress = SubProgress(context.progress, 0, 1, "")
    begin = time.monotonic()
    longest_s, number = 0.0, 0
    while True:
        session_begin = time.monotonic()
        sessions.run(number, progress.part(min(number, most - 1), most, f"session {number + 1}"))
        now = time.monotonic()
        longest_s, number = max(longest_s, now - session_begin), number + 1
        if number >= config.sessions:
            sampled = sessions.sampled(number, now - begin)
            if sampled.width <= config.precision or now - begin + longest_s > config.budget_s:
                return sampled


class _Sessions:
    """Runs sessions of about `session_s`, with the start of processes and the loading of models, and collects samples.

    `_lost` maps runtimes to the models that ended a process, with the reason.
    """

    def __init__(self, context: Context, models: Sequence[BenchModel], session_s: float, seed: int) -> None:
        self._context, self._models, self._config = context, models, context.config
        self._session_s, self._seed = session_s, seed
        self._configurations = configurations(models, context.config)
        self._plan = session_plan(context.runner.cores, context.config.sessions)
        self._overhead_s: dict[str, float] = {}
        self._begin_s = 0.0
        self._floor = null_model(context.folder)
        self._file = context.folder / "samples.npz"
        self._lost: dict[str, dict[str, str]] = {}
        self._errors: dict[Key, str] = {}
        self._parts: dict[Key, list[Clustered]] = defaultdict(list)
        self._warm_up_calls: dict[Key, list[int]] = defaultdict(list)
        self._call_ns: dict[Key, list[float]] = defaultdict(list)
        self._floor_ns: list[float] = []

    def run(self, session: int, progress: SubProgress) -> None:
        """Run session number `session`, one process a runtime."""
        runtimes, ids = self._config.runtime, [model.id for model in self._models]
        for number, runtime in enumerate(runtimes):
            part = progress.part(number, len(runtimes), progress.detail)
            lost = self._lost.setdefault(runtime, {})

            def job_for(_: Sequence[str], runtime: str = runtime) -> LatencyJob | None:
                return self._job(runtime, session)

            result = self._context.runner.run_surviving(
                ids, job_for, lost, part, turn=session, threads=max(self._config.threads), monitor=True
            )
            if result is None:
                continue
            timed_s = sum(configuration["seconds"] for configuration in result["configurations"])
            self._overhead_s[runtime] = time.monotonic() - self._begin_s - timed_s
            self._add(session, result)

    def _job(self, runtime: str, session: int) -> LatencyJob | None:
        """Return the job with the models of each configuration of `runtime` that have not failed; None without any."""
        self._begin_s = time.monotonic()
        left_s = self._session_s - self._overhead_s.get(runtime, _OVERHEAD_S) * len(self._config.runtime)
        timed_s = max(left_s, _LEAST_SHARE * self._session_s)
        remaining, failed = [], self._failed()
        for number, c in enumerate(self._configurations):
            models = tuple(m for m in c.models if (self._models[m].id, number) not in failed)
            if c.runtime == runtime and models:
                remaining.append(c.timed(number, models, c.share * timed_s))
        if not remaining:
            return None
        return LatencyJob(
            runtime=runtime,
            models=tuple(self._context.jobs[model.id] for model in self._models),
            configurations=tuple(remaining),
            provider=self._config.provider,
            threads=max(self._config.threads),
            seed=self._seed,
            session=session,
            floor=self._floor if runtime == ONNXRUNTIME else None,
            samples=str(self._file),
        )

    def _failed(self) -> dict[Key, str]:
        """Return why a model has no samples in a configuration."""
        lost = {
            (id_, number): reason
            for number, configuration in enumerate(self._configurations)
            for id_, reason in self._lost.get(configuration.runtime, {}).items()
        }
        return lost | self._errors

    def _add(self, session: int, result: Mapping[str, Any]) -> None:
        """Add the result of a session's process and the samples in its file."""
        if result["floor_ns"] is not None:
            self._floor_ns.append(result["floor_ns"])
        with np.load(self._file, allow_pickle=False) as arrays:
            for configuration in result["configurations"]:
                number = configuration["number"]
                self._errors |= {(id_, number): reason for id_, reason in configuration["errors"].items()}
                for m in self._configurations[number].models:
                    if (part := session_calls(arrays, f"{number}/{m}", session)) is not None:
                        key = (self._models[m].id, number)
                        self._parts[key].append(part)
                        self._warm_up_calls[key].append(configuration["warm_up_calls"][key[0]])
                        self._call_ns[key].append(configuration["call_ns"][key[0]])
        self._file.unlink()

    def sampled(self, sessions: int, seconds: float) -> Sampled:
        """Return everything collected, without the samples of models that failed."""
        failed = self._failed()
        samples = {key: join_sessions(parts) for key, parts in self._parts.items() if key not in failed}
        return Sampled(
            self._configurations,
            samples,
            failed,
            np.array(self._floor_ns),
            self._warm_up_calls,
            self._call_ns,
            sessions,
            seconds,
            headline_width(self._models, self._configurations, samples, self._plan),
            self._context.runner.cores,
            self._plan,
        )
