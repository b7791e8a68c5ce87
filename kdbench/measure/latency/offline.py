"""Sessions of offline throughput: the first process finds how far larger batches pay, the others measure them."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kdbench.measure.bench_model import SEED
from kdbench.measure.context import ONNXRUNTIME, Context
from kdbench.measure.latency.sessions import calls_of_session, session_plan
from kdbench.progress import SubProgress
from kdbench.results.samples import join_sessions
from kdbench.statistics import PLAIN, Clustered, Plan
from kdbench.worker.batch_sweep import Sweep
from kdbench.worker.jobs import LatencyJob, OfflineJob, TimedConfiguration, decode
from kdbench.worker.timing import BLOCK_NS, LEAST_ROUNDS

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

    def sweep(self, model: str) -> Sweep:
        """Return the sweep of a model; an empty one if it failed."""
        return self.sweeps.get(model, Sweep())

    def by_batch(self, model: str) -> dict[int, Clustered]:
        """Return the samples of a model by batch, the smallest first."""
        return {batch: calls for (id_, batch), calls in sorted(self.samples.items()) if id_ == model}


def sample_offline(context: Context) -> list[OfflineSamples]:
    """Sweep the batches of every model at each number of threads, within BUDGET_SHARE of the budget in all.

    A model that ends its process is left out from then on, and its samples are dropped. Raises MeasurementError if a
    process dies and no single model is to blame.
    """
    config, progress = context.config, SubProgress(context.progress, 0, 1, "")
    parts = len(config.threads)
    return [
        _sample(context, threads, BUDGET_SHARE * config.budget_s / parts, progress.part(number, parts, ""))
        for number, threads in enumerate(config.threads)
    ]


def _sample(context: Context, threads: int, budget_s: float, progress: SubProgress) -> OfflineSamples:
    """Find the batches, then measure them, in about `budget_s`."""
    begin = time.monotonic()
    sessions, failed = context.config.sessions, dict[str, str]()
    sweeps = _sweep(context, threads, budget_s, failed, progress.part(0, sessions + 1, "finding batches"))
    left_s = budget_s - (time.monotonic() - begin)
    parts: dict[tuple[str, int], list[Clustered]] = defaultdict(list)
    for session in range(sessions if any(sweep.steps for sweep in sweeps.values()) else 0):
        part = progress.part(session + 1, sessions + 1, f"session {session + 1} of {sessions}")
        for key, calls in _measure(context, threads, sweeps, left_s / sessions, session, failed, part).items():
            parts[key].append(calls)
    samples = {key: join_sessions(calls) for key, calls in parts.items() if key[0] not in failed}
    return OfflineSamples(threads, sweeps, samples, failed, session_plan(context.runner.cores))


def _sweep(
    context: Context, threads: int, budget_s: float, failed: dict[str, str], progress: SubProgress
) -> dict[str, Sweep]:
    sessions = context.config.sessions

    def job_for(alive: Sequence[str]) -> OfflineJob:
        return OfflineJob(
            models=tuple(context.jobs[id_] for id_ in alive),
            provider=context.config.provider,
            threads=threads,
            budget_ns=budget_s * 1e9,
            repeats=sessions * _REPEATS,
            least_ns=sessions * _LEAST_NS,
        )

    ids = [model.id for model in context.ready]
    result = context.runner.run_surviving(ids, job_for, failed, progress, monitor=True)
    return {id_: decode(Sweep, sweep) for id_, sweep in result["sweeps"].items()} if result else {}


def _measure(
    context: Context,
    threads: int,
    sweeps: Mapping[str, Sweep],
    session_s: float,
    session: int,
    failed: dict[str, str],
    progress: SubProgress,
) -> dict[tuple[str, int], Clustered]:
    """Return the calls by model and batch of one process, the models interleaved: a session like those of latency."""
    file, models = context.folder / "samples.npz", context.ready

    def job_for(alive: Sequence[str]) -> LatencyJob:
        return LatencyJob(
            runtime=ONNXRUNTIME,
            models=tuple(context.jobs[model.id] for model in models),
            configurations=plan([sweeps[m.id] if m.id in alive else Sweep() for m in models], threads, session_s),
            provider=context.config.provider,
            threads=threads,
            seed=SEED,
            session=session,
            floor=None,
            samples=str(file),
        )

    result = context.runner.run_surviving(sweeps, job_for, failed, progress, turn=session, monitor=True)
    if result is None:
        return {}
    for configuration in result["configurations"]:
        failed |= configuration["errors"]
    return calls_of_session(file, models, session)


def plan(sweeps: Sequence[Sweep], threads: int, session_s: float) -> tuple[TimedConfiguration, ...]:
    """Return the configurations of a session of about `session_s`, numbered by batch, the smallest first.

    Every batch gets the time of its least number of calls, and an equal part of the rest.
    """
    least_s: dict[int, float] = defaultdict(float)
    for step in (step for sweep in sweeps for step in sweep.steps):
        least_s[step.batch] += max(_REPEATS * step.call_ns, _LEAST_NS) / 1e9
    more_s = max(session_s - sum(least_s.values()), 0) / max(len(least_s), 1)
    return tuple(
        TimedConfiguration(
            number=batch,
            threads=threads,
            batch=batch,
            models=tuple(m for m, sweep in enumerate(sweeps) if batch in {step.batch for step in sweep.steps}),
            budget_s=least_s[batch] + more_s,
        )
        for batch in sorted(least_s)
    )
