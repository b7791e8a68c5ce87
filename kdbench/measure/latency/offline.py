"""Sessions of offline throughput: the first process finds how far larger batches pay, the others measure them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kdbench.measure.bench_model import SEED
from kdbench.measure.context import ONNXRUNTIME, Context
from kdbench.measure.latency.precision import session_plan
from kdbench.progress import SubProgress
from kdbench.results.samples import join_sessions, session_calls
from kdbench.statistics import PLAIN, Clustered, Plan
from kdbench.worker.batch_sweep import Sweep
from kdbench.worker.jobs import LatencyJob, OfflineJob, TimedConfiguration, decode
from kdbench.worker.loads import BLOCK_NS, LEAST_ROUNDS

BUDGET_SHARE = 0.5  # of the latency budget, and in addition to it
# Of each batch in each session, at the least: two calls of warm-up, one that refills the caches, and the timed ones.
_REPEATS = 3 + LEAST_ROUNDS
_LEAST_NS = LEAST_ROUNDS * BLOCK_NS + 20_000_000  # however short the calls: whole blocks, and a window of warm-up


@dataclass(frozen=True)
class OfflineSamples:
    """The samples at one number of threads.

    `sweeps` are by model, `samples` by model and batch; `failed` says why a model has neither; `plan` is how the
    sessions were drawn.
    """

    threads: int
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)
    samples: Mapping[tuple[str, int], Clustered] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    plan: Plan = PLAIN


def sample_offline(context: Context) -> list[OfflineSamples]:
    """Sweep the batches of every model at each number of threads, within BUDGET_SHARE of the budget in all.

    A model that ends its process is left out from then on, and its samples are dropped. Raises MeasurementError if a
    process dies and no single model is to blame.
    """
    config, progress = context.config, SubProgress(context.progress, 0, 1, "")
    parts = len(config.threads)
    return [
        _Sessions(replace(context, progress=progress.part(number, parts, "")), threads).sample(
            BUDGET_SHARE * config.budget_s / parts
        )
        for number, threads in enumerate(config.threads)
    ]


@dataclass
class _Sessions:
    """Runs the processes at one number of threads."""

    context: Context
    threads: int
    failed: dict[str, str] = field(default_factory=dict)

    def sample(self, budget_s: float) -> OfflineSamples:
        """Find the batches, then measure them, in about `budget_s`."""
        begin = time.monotonic()
        sessions, progress = self.context.config.sessions, SubProgress(self.context.progress, 0, 1, "")
        sweeps = self._sweep(budget_s, progress.part(0, sessions + 1, "finding batches"))
        left_s = budget_s - (time.monotonic() - begin)
        parts: dict[tuple[str, int], list[Clustered]] = {}
        for session in range(sessions):
            part = progress.part(session + 1, sessions + 1, f"session {session + 1} of {sessions}")
            for key, data in self._measure(session, sweeps, left_s / sessions, part).items():
                parts.setdefault(key, []).append(data)
        samples = {key: join_sessions(data) for key, data in parts.items() if key[0] not in self.failed}
        return OfflineSamples(self.threads, sweeps, samples, self.failed, session_plan(self.context.runner.cores))

    def _sweep(self, budget_s: float, progress: SubProgress) -> dict[str, Sweep]:
        sessions = self.context.config.sessions

        def job_for(alive: Sequence[str]) -> OfflineJob:
            return OfflineJob(
                models=tuple(self.context.jobs[id_] for id_ in alive),
                provider=self.context.config.provider,
                threads=self.threads,
                budget_ns=budget_s * 1e9,
                repeats=sessions * _REPEATS,
                least_ns=sessions * _LEAST_NS,
            )

        ids = [model.id for model in self.context.ready]
        result = self.context.runner.run_surviving(ids, job_for, self.failed, progress, monitor=True)
        return {id_: decode(Sweep, sweep) for id_, sweep in result["sweeps"].items()} if result else {}

    def _measure(
        self, session: int, sweeps: Mapping[str, Sweep], session_s: float, progress: SubProgress
    ) -> dict[tuple[str, int], Clustered]:
        """Measure all batches in one process, the models interleaved: a session like those of latency."""
        if not any(sweep.steps for sweep in sweeps.values()):
            return {}
        file = self.context.folder / "samples.npz"
        jobs: list[LatencyJob] = []

        def job_for(alive: Sequence[str]) -> LatencyJob:
            job = LatencyJob(
                runtime=ONNXRUNTIME,
                models=tuple(self.context.jobs[id_] for id_ in alive),
                configurations=plan([sweeps[id_] for id_ in alive], self.threads, session_s),
                provider=self.context.config.provider,
                threads=self.threads,
                seed=SEED,
                session=session,
                floor=None,
                samples=str(file),
            )
            jobs.append(job)
            return job

        runner = self.context.runner
        result = runner.run_surviving(sweeps, job_for, self.failed, progress, turn=session, monitor=True)
        if result is None:
            return {}
        for configuration in result["configurations"]:
            self.failed |= configuration["errors"]
        samples = {}
        with np.load(file, allow_pickle=False) as arrays:
            for planned in jobs[-1].configurations:
                for m in planned.models:
                    if (part := session_calls(arrays, f"{planned.number}/{m}", session)) is not None:
                        samples[jobs[-1].models[m].id, planned.batch] = part
        file.unlink()
        return samples


def plan(sweeps: Sequence[Sweep], threads: int, session_s: float) -> tuple[TimedConfiguration, ...]:
    """Return the configurations of a session of about `session_s`, the smallest batch first.

    Every batch gets the time of its least number of calls, and an equal part of the rest.
    """
    least_s: dict[int, float] = {}
    for step in (step for sweep in sweeps for step in sweep.steps):
        least_s[step.batch] = least_s.get(step.batch, 0) + max(_REPEATS * step.call_ns, _LEAST_NS) / 1e9
    more_s = max(session_s - sum(least_s.values()), 0) / max(len(least_s), 1)
    return tuple(
        TimedConfiguration(
            number=number,
            threads=threads,
            batch=batch,
            models=tuple(m for m, sweep in enumerate(sweeps) if batch in {step.batch for step in sweep.steps}),
            budget_s=least_s[batch] + more_s,
        )
        for number, batch in enumerate(sorted(least_s))
    )
