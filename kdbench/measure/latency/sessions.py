"""Latency and throughput of models measured together: sessions run one after the other, samples brought home.

Sessions are added until the headline ratios are known precisely enough or the budget is spent.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import MeasurementError
from kdbench.machine.cores import choose_cores, rotate_cores
from kdbench.machine.system_monitor import Conditions, SystemMonitor
from kdbench.measure.bench_model import SEED, BenchModel
from kdbench.measure.latency.configurations import Configuration, configurations
from kdbench.measure.latency.precision import Samples, headline_width
from kdbench.measure.session_plan import session_plan
from kdbench.measure.staging import null_model
from kdbench.progress import SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.samples import join_sessions, session_calls
from kdbench.statistics import PLAIN, Clustered, Plan
from kdbench.worker.jobs import JobModel
from kdbench.worker.process import WorkerError, run_job

# The budget is cut into so many sessions for each that is always taken: more than half of it is for a second thought.
_MOST_FOR_ONE = 2.5
_OVERHEAD_S = 0.5  # of a session, before one has shown it: starting a process, loading models
_LEAST_SHARE = 0.3  # of a session's time is spent timing, however long the models take to load

Failures = Mapping[tuple[str, int], str]
"""Why a subject has no samples, by its id and the configuration's number."""


@dataclass(frozen=True)
class Sampled:
    """What the sessions brought home.

    `failed` are those without samples in a configuration; `floor_ns` is one a session; `warm_up_calls` (one a session)
    and `call_ns` (the median warm call, one a session) are by subject and configuration number; `seconds` is the time
    of all sessions, process starts included. `width` is the widest headline interval at the end, as a share;
    `conditions` what the machine did meanwhile, one a process; `plan` is how sessions came about.
    """

    configurations: tuple[Configuration, ...]
    samples: Samples
    failed: Failures
    floor_ns: NDArray[np.float64]
    warm_up_calls: Mapping[tuple[str, int], list[int]]
    call_ns: Mapping[tuple[str, int], list[float]]
    sessions: int = 0
    seconds: float = 0.0
    width: float = np.inf
    cores: tuple[int, ...] | None = None
    conditions: tuple[Conditions, ...] = ()
    plan: Plan = PLAIN


def sample(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    config: Measure,
    folder: Path,
    progress: SubProgress,
    seed: int = SEED,
) -> Sampled:
    """Run sessions one after the other, each a fresh process (one a runtime) with every subject in it.

    There are `protocol.sessions` at least; then it goes on until `headline_width` is below `protocol.precision` or
    another session would end after `protocol.budget_s`. A subject that takes a session down with it is left out from
    then on, and its samples are dropped; so are those of one that fails in any session. Raises MeasurementError when
    a session fails without one subject to blame.
    """
    most = math.ceil(_MOST_FOR_ONE * config.sessions)
    runner = _Runner(subjects, models, config, folder, config.budget_s / most, seed)
    begin = time.monotonic()
    longest_s = 0.0
    while True:
        number = runner.collected.sessions
        session_begin = time.monotonic()
        runner.run(number, progress.part(min(number, most - 1), most, f"latency, session {number + 1}"))
        now = time.monotonic()
        longest_s = max(longest_s, now - session_begin)
        if number + 1 < config.sessions:
            continue
        found = runner.collected.sampled(now - begin)
        if found.width <= config.precision or now - begin + longest_s > config.budget_s:
            return found


class _Runner:
    """Runs sessions that take about `session_s`, the starting of processes and the loading of models included."""

    def __init__(
        self,
        subjects: Sequence[BenchModel],
        models: Mapping[str, JobModel],
        config: Measure,
        folder: Path,
        session_s: float,
        seed: int,
    ) -> None:
        self._subjects, self._models, self._config = subjects, models, config
        self._folder = folder
        self._session_s, self._seed = session_s, seed
        self._overhead_s: dict[str, float] = {}
        self._floor = null_model(folder)
        cores = choose_cores(config.cores, config.threads)
        plan = session_plan(cores, config.sessions)
        self.collected = _Collected(subjects, configurations(subjects, config), cores, plan)

    def run(self, session: int, progress: SubProgress) -> None:
        """Run session number `session`, one process a runtime."""
        runtimes = self._config.runtime
        cores = rotate_cores(self.collected.cores, max(self._config.threads), session)
        for turn, runtime in enumerate(runtimes):
            part = progress.part(turn, len(runtimes), progress.detail)
            while jobs := self.collected.remaining(runtime, self._timed_s(runtime)):
                job = self._job(runtime, session, jobs)
                try:
                    begin = time.monotonic()
                    with SystemMonitor(cores=cores, provider=self._config.provider) as witness:
                        result = run_job(job, self._folder, part, cores=cores)
                except WorkerError as error:
                    if error.model is None or not self.collected.lose(runtime, error.model, error.message):
                        raise
                    continue
                timed_s = sum(each["seconds"] for each in result["configurations"])
                self._overhead_s[runtime] = time.monotonic() - begin - timed_s
                self.collected.add(session, result, self._folder / "samples.npz")
                self.collected.conditions.append(witness.conditions)
                break
        self.collected.sessions += 1

    def _timed_s(self, runtime: str) -> float:
        """Return how long a session is to time calls, for a process that takes its time to begin."""
        left = self._session_s - self._overhead_s.get(runtime, _OVERHEAD_S) * len(self._config.runtime)
        return max(left, _LEAST_SHARE * self._session_s)

    def _job(self, runtime: str, session: int, jobs: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "probe": "latency",
            "runtime": runtime,
            "models": [self._models[s.id].to_json() for s in self._subjects],
            "configurations": jobs,
            "provider": self._config.provider,
            "seed": self._seed,
            "session": session,
            "floor": self._floor.to_json() if runtime == "onnxruntime" else None,
            "samples": str(self._folder / "samples.npz"),
        }


@dataclass
class _Collected:
    """Samples of the sessions run so far."""

    subjects: Sequence[BenchModel]
    configurations: tuple[Configuration, ...]
    cores: tuple[int, ...] | None
    plan: Plan
    sessions: int = 0
    failed: dict[tuple[str, int], str] = field(default_factory=dict)
    conditions: list[Conditions] = field(default_factory=list)
    _parts: dict[tuple[str, int], list[Clustered]] = field(default_factory=dict)
    _warm_up_calls: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    _call_ns: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    _floor_ns: list[float] = field(default_factory=list)

    def remaining(self, runtime: str, timed_s: float) -> list[dict[str, Any]]:
        """Return the configurations of `runtime` with the subjects that have not failed, for a session of `timed_s`."""
        found = []
        for number, c in enumerate(self.configurations):
            models = [m for m in c.models if (self.subjects[m].id, number) not in self.failed]
            if c.runtime == runtime and models:
                found.append({**asdict(c), "number": number, "models": models, "budget_s": c.share * timed_s})
        return found

    def lose(self, runtime: str, id_: str, reason: str) -> bool:
        """Leave a subject out of all that `runtime` does from now on; return whether it was in anything."""
        numbers = [n for n, c in enumerate(self.configurations) if c.runtime == runtime and (id_, n) not in self.failed]
        self.failed |= {(id_, number): reason for number in numbers}
        return bool(numbers)

    def add(self, session: int, result: Mapping[str, Any], file: Path) -> None:
        """Take in what a session's process reports and the samples it left in `file`."""
        if result["floor_ns"] is not None:
            self._floor_ns.append(result["floor_ns"])
        with np.load(file, allow_pickle=False) as arrays:
            for told in result["configurations"]:
                number = told["number"]
                self.failed |= {(id_, number): reason for id_, reason in told["errors"].items()}
                for m in self.configurations[number].models:
                    key = (self.subjects[m].id, number)
                    if (part := session_calls(arrays, f"{number}/{m}", session)) is not None:
                        self._parts.setdefault(key, []).append(part)
                        self._warm_up_calls.setdefault(key, []).append(told["warm_up_calls"][key[0]])
                        self._call_ns.setdefault(key, []).append(told["call_ns"][key[0]])
        file.unlink()

    def sampled(self, seconds: float) -> Sampled:
        """Return everything collected, less the samples of subjects that failed."""
        samples = {key: join_sessions(parts) for key, parts in self._parts.items() if key not in self.failed}
        return Sampled(
            self.configurations,
            samples,
            self.failed,
            np.array(self._floor_ns),
            self._warm_up_calls,
            self._call_ns,
            self.sessions,
            seconds,
            headline_width(self.subjects, self.configurations, samples, self.plan),
            self.cores,
            tuple(self.conditions),
            self.plan,
        )


def nothing_sampled(subjects: Sequence[BenchModel], config: Measure, error: MeasurementError) -> Sampled:
    """Return what is known when no session came through: every subject failed, for that reason."""
    found = configurations(subjects, config)
    failed = {(s.id, number): error.message for number in range(len(found)) for s in subjects}
    return Sampled(found, {}, failed, np.empty(0), {}, {})
