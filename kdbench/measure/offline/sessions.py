"""Calls with ever larger batches: one process finds how far that pays, further ones measure up to there."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.machine.cores import choose_cores, rotate_cores
from kdbench.machine.system_monitor import Conditions, SystemMonitor
from kdbench.measure.bench_model import SEED, BenchModel
from kdbench.measure.latency.configurations import Configuration
from kdbench.measure.session_plan import session_plan
from kdbench.progress import SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.samples import join_sessions, session_calls
from kdbench.statistics import PLAIN, Clustered, Plan
from kdbench.worker.batch_sweep import Step, Sweep
from kdbench.worker.jobs import JobModel
from kdbench.worker.loads import BLOCK_NS, LEAST_ROUNDS
from kdbench.worker.process import WorkerError, run_job

BUDGET_SHARE = 0.5  # of the latency budget, and in addition to it
# Of each batch in each session, at the least: two calls of warm-up, one that refills the caches, and the timed ones.
_REPEATS = 3 + LEAST_ROUNDS
_LEAST_NS = LEAST_ROUNDS * BLOCK_NS + 20_000_000  # however short the calls: whole blocks, and a window of warm-up


@dataclass(frozen=True)
class OfflineSamples:
    """What was brought home at one number of threads.

    `sweeps` are by subject, `samples` by subject and batch; `failed` says why a subject has neither; `plan` is how the
    sessions came about, `conditions` what the machine did meanwhile, one a process.
    """

    threads: int
    sweeps: Mapping[str, Sweep]
    samples: Mapping[tuple[str, int], Clustered]
    failed: Mapping[str, str]
    plan: Plan = PLAIN
    conditions: tuple[Conditions, ...] = ()


def sample_offline(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    config: Measure,
    folder: Path,
    progress: SubProgress,
) -> list[OfflineSamples]:
    """Sweep the batches of every subject at each number of threads, within BUDGET_SHARE of the budget altogether.

    A subject that takes a process down with it is left out from then on, and its samples are dropped. Raises
    MeasurementError when a process dies without one subject to blame.
    """
    cores = choose_cores(config.cores, config.threads)
    parts = len(config.threads)
    found = []
    for number, threads in enumerate(config.threads):
        part = progress.part(number, parts, progress.detail)
        budget_s = BUDGET_SHARE * config.budget_s / parts
        runner = _Runner([models[s.id] for s in subjects], config, threads, cores, folder)
        found.append(runner.taken(budget_s, part))
    return found


@dataclass
class _Runner:
    """Runs the processes at one number of threads."""

    models: Sequence[JobModel]
    config: Measure
    threads: int
    cores: tuple[int, ...] | None
    folder: Path
    failed: dict[str, str] = field(default_factory=dict)
    conditions: list[Conditions] = field(default_factory=list)

    def taken(self, budget_s: float, progress: SubProgress) -> OfflineSamples:
        """Find the batches, then measure them, in about `budget_s`."""
        begin = time.monotonic()
        sessions = self.config.sessions
        sweeps = self._sweeps(budget_s, progress.part(0, sessions + 1, f"{progress.detail}, which batches"))
        left_s = budget_s - (time.monotonic() - begin)
        parts: dict[tuple[str, int], list[Clustered]] = {}
        for session in range(sessions):
            part = progress.part(session + 1, sessions + 1, f"{progress.detail}, session {session + 1} of {sessions}")
            for key, data in self._session(session, sweeps, left_s / sessions, part).items():
                parts.setdefault(key, []).append(data)
        samples = {key: join_sessions(each) for key, each in parts.items() if key[0] not in self.failed}
        conditions = tuple(self.conditions)
        return OfflineSamples(self.threads, sweeps, samples, self.failed, session_plan(self.cores), conditions)

    def _sweeps(self, budget_s: float, progress: SubProgress) -> dict[str, Sweep]:
        def job(alive: Sequence[JobModel]) -> dict[str, Any]:
            return {
                "probe": "offline",
                "models": [model.to_json() for model in alive],
                "provider": self.config.provider,
                "threads": self.threads,
                "budget_ns": budget_s * 1e9,
                "repeats": self.config.sessions * _REPEATS,
                "least_ns": self.config.sessions * _LEAST_NS,
            }

        result, _ = self._survived(job, 0, progress)
        return {id_: _read(sweep) for id_, sweep in result["sweeps"].items()} if result else {}

    def _session(
        self, session: int, sweeps: Mapping[str, Sweep], session_s: float, progress: SubProgress
    ) -> dict[tuple[str, int], Clustered]:
        """Measure all batches in one process, the models interleaved: a session like those of latency."""
        if not any(sweep.steps for sweep in sweeps.values()):
            return {}
        file = self.folder / "samples.npz"

        def job(alive: Sequence[JobModel]) -> dict[str, Any]:
            return {
                "probe": "latency",
                "runtime": "onnxruntime",
                "models": [model.to_json() for model in alive],
                "configurations": plan([sweeps[model.id] for model in alive], self.threads, session_s),
                "provider": self.config.provider,
                "seed": SEED,
                "session": session,
                "floor": None,
                "samples": str(file),
            }

        result, alive = self._survived(job, session, progress)
        if result is None:
            return {}
        for told in result["configurations"]:
            self.failed |= told["errors"]
        found = {}
        with np.load(file, allow_pickle=False) as arrays:
            for planned in job(alive)["configurations"]:
                for m in planned["models"]:
                    key = f"{planned['number']}/{m}"
                    if (part := session_calls(arrays, key, session)) is not None:
                        found[alive[m].id, planned["batch"]] = part
        file.unlink()
        return found

    def _survived(
        self, job: Callable[[Sequence[JobModel]], dict[str, Any]], turn: int, progress: SubProgress
    ) -> tuple[Any, list[JobModel]]:
        """Run the job of the models that are left, until no model takes its process down; (None, []) if none is."""
        cores = rotate_cores(self.cores, self.threads, turn)
        while alive := [model for model in self.models if model.id not in self.failed]:
            try:
                with SystemMonitor(cores=cores, provider=self.config.provider) as witness:
                    result = run_job(job(alive), self.folder, progress, cores=cores)
            except WorkerError as error:
                if error.model is None or error.model in self.failed:
                    raise
                self.failed[error.model] = error.message
                continue
            self.conditions.append(witness.conditions)
            return result, alive
        return None, []


def plan(sweeps: Sequence[Sweep], threads: int, session_s: float) -> list[dict[str, Any]]:
    """Return the configurations of a session of about `session_s`, the smallest batch first.

    Every batch gets the time that its least number of calls will take, and an equal part of what is left beyond.
    """
    least_s: dict[int, float] = {}
    for step in (step for sweep in sweeps for step in sweep.steps):
        least_s[step.batch] = least_s.get(step.batch, 0) + max(_REPEATS * step.call_ns, _LEAST_NS) / 1e9
    more_s = max(session_s - sum(least_s.values()), 0) / max(len(least_s), 1)
    found = []
    for number, batch in enumerate(sorted(least_s)):
        able = tuple(m for m, sweep in enumerate(sweeps) if batch in {step.batch for step in sweep.steps})
        configuration = Configuration(threads, batch, able, share=1 / len(least_s))
        found.append({**asdict(configuration), "number": number, "budget_s": least_s[batch] + more_s})
    return found


def _read(value: Mapping[str, Any]) -> Sweep:
    return Sweep(**{**value, "steps": [Step(**step) for step in value["steps"]]})
