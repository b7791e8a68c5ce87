"""The offline pass: the largest throughput of each model over batches of 1, 2, 4 and so on.

A first process determines the batch up to which the throughput grows; sessions then measure all batches up to it.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics, units
from kdbench.errors import MeasurementError
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import PASSES, Context, Expected, Pass, expected_of, expected_pair
from kdbench.measure.latency.diagnosis import instability
from kdbench.measure.latency.ratios import session_plan
from kdbench.measure.latency.sessions import calls_of_session
from kdbench.measure.timed import ONNXRUNTIME, SEED, compared
from kdbench.progress import SubProgress
from kdbench.results.findings import Failure, Findings, estimated_across_runs, estimated_pair
from kdbench.results.records import Diagnostic, Measurement, Pair, missing
from kdbench.results.samples import call_arrays, calls_key, join_sessions
from kdbench.statistics import PLAIN, Clustered, Plan
from kdbench.worker.batch_sweep import RULE, Sweep
from kdbench.worker.decoding import decode
from kdbench.worker.jobs import LatencyJob, OfflineJob, TimedConfiguration
from kdbench.worker.loads import BLOCK_NS, MIN_ROUNDS

BUDGET_SHARE = 0.5  # the pass may take this share of the latency budget, in addition to it
# The fewest calls of a batch in a session: two of warm-up, one that refills the caches, and the timed ones.
_REPEATS = 3 + MIN_ROUNDS
_MIN_NS = MIN_ROUNDS * BLOCK_NS + 20_000_000  # the least time of a batch in a session: its blocks, and the warm-up
_RATE = "throughput_per_s"
_BEST = "max_throughput_per_s"
_REMEDIES = {
    "memory": "measure with more memory, or fewer models at a time",
    "budget": "give it a longer --budget",
    "fault": "if it ran out of memory, free some; otherwise try another version of the runtime",
}


@PASSES.register("offline")
class OfflinePass(Pass):
    """The throughput of every model at every batch, the largest throughput, and its ratio for every student.

    It runs only if "offline" is a configured mode.
    """

    order = 80

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield the largest throughputs and their ratios; the other batches are known only after the measurement."""
        for threads in context.config.threads if _is_configured(context) else ():
            yield from expected_of(context.timed, [_BEST], _axes(context, threads), ONNXRUNTIME)
            for teacher, student in compared(context.timed):
                axes = _axes(context, threads)
                yield expected_pair(teacher, student, "throughput_ratio", axes, ONNXRUNTIME)

    def weight(self, context: Context) -> float:
        """Return the budget."""
        return BUDGET_SHARE * context.config.budget_s if _is_configured(context) and context.ready else 0.0

    def run(self, context: Context) -> Findings:
        """Sweep and measure."""
        config = context.config
        if not _is_configured(context) or not context.ready:
            return Findings()
        facts = {"offline_s": BUDGET_SHARE * config.budget_s, "offline_sessions": config.sessions, "offline": RULE}
        findings = Findings(protocol=facts)
        try:
            by_threads = sample_offline(context)
        except MeasurementError as error:
            return findings + Findings(failures=(Failure(None, error.message),))
        for samples in by_threads:
            axes = {batch: _axes(context, samples.threads, batch=batch) for _, batch in samples.samples}
            calls = {calls_key(id_, axes[batch]): data for (id_, batch), data in samples.samples.items()}
            reasons = {id_: sweep.fault for id_, sweep in samples.sweeps.items() if sweep.fault} | dict(samples.failed)
            findings += Findings(
                measurements=tuple(m for model in context.ready for m in _throughputs(model, samples, context)),
                pairs=tuple(pair for t, s in compared(context.ready) for pair in _ratio(t, s, samples, context)),
                warnings=tuple(warning for model in context.ready for warning in _end_warnings(model, samples)),
                samples=call_arrays(calls),
                failures=tuple(
                    Failure(m.id, reasons.get(m.id, "no session timed it"), axes={"threads": samples.threads})
                    for m in context.ready
                    if not samples.by_batch(m.id)
                ),
            )
        return findings


@dataclass(frozen=True)
class OfflineSamples:
    """The samples at one number of threads.

    sweeps: by model.
    samples: the times of calls, by model and batch.
    failed: why a model has no samples, by model.
    plan: how the sessions came about.
    """

    threads: int
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)
    samples: Mapping[tuple[str, int], Clustered] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    plan: Plan = PLAIN

    def by_batch(self, model: str) -> dict[int, Clustered]:
        """Return the samples of a model by batch, the smallest first."""
        return {batch: calls for (id_, batch), calls in sorted(self.samples.items()) if id_ == model}


def sample_offline(context: Context) -> list[OfflineSamples]:
    """Sweep and measure the batches of every model at each number of threads, all within BUDGET_SHARE of the budget.

    A model that ends its process is excluded from then on, and its samples are dropped. Raises MeasurementError if a
    process dies and it is unknown which model caused it.
    """
    config, progress = context.config, SubProgress(context.progress, 0, 1, "")
    parts = len(config.threads)
    return [
        _sample(context, threads, BUDGET_SHARE * config.budget_s / parts, progress.part(number, parts, ""))
        for number, threads in enumerate(config.threads)
    ]


def _sample(context: Context, threads: int, budget_s: float, progress: SubProgress) -> OfflineSamples:
    """Determine the batches of each model, then measure them, in about `budget_s`."""
    begin = time.monotonic()
    sessions, failed = context.config.sessions, dict[str, str]()
    job = OfflineJob(
        models=tuple(context.jobs[model.id] for model in context.ready),
        provider=context.config.provider,
        threads=threads,
        budget_ns=budget_s * 1e9,
        repeats=sessions * _REPEATS,
        least_ns=sessions * _MIN_NS,
    )
    part = progress.part(0, sessions + 1, "finding batches")
    result = context.runner.run_remaining(job, failed, part, monitor=True)
    sweeps = {id_: decode(Sweep, sweep) for id_, sweep in result["sweeps"].items()} if result else {}
    remaining_s = budget_s - (time.monotonic() - begin)
    parts: dict[tuple[str, int], list[Clustered]] = defaultdict(list)
    for session in range(sessions if any(sweep.steps for sweep in sweeps.values()) else 0):
        part = progress.part(session + 1, sessions + 1, f"session {session + 1} of {sessions}")
        for key, calls in _measure(context, threads, sweeps, remaining_s / sessions, session, failed, part).items():
            parts[key].append(calls)
    samples = {key: join_sessions(calls) for key, calls in parts.items() if key[0] not in failed}
    return OfflineSamples(threads, sweeps, samples, failed, session_plan(context.runner.cores))


def _measure(
    context: Context,
    threads: int,
    sweeps: Mapping[str, Sweep],
    session_s: float,
    session: int,
    failed: dict[str, str],
    progress: SubProgress,
) -> dict[tuple[str, int], Clustered]:
    """Return the calls of one session by model and batch: one process in which models take turns, as for latency."""
    file, models = context.folder / "samples.npz", context.ready
    remaining = {id_: sweep for id_, sweep in sweeps.items() if id_ not in failed}
    job = LatencyJob(
        runtime=ONNXRUNTIME,
        models=tuple(context.jobs[model.id] for model in models),
        configurations=plan([remaining.get(model.id, Sweep()) for model in models], threads, session_s),
        provider=context.config.provider,
        threads=threads,
        seed=SEED,
        session=session,
        floor=None,
        samples=str(file),
    )
    result = context.runner.run_remaining(job, failed, progress, turn=session, monitor=True)
    if result is None:
        return {}
    for configuration in result["configurations"]:
        failed |= configuration["errors"]
    calls = calls_of_session(file, models, session)
    file.unlink()
    return calls


def plan(sweeps: Sequence[Sweep], threads: int, session_s: float) -> tuple[TimedConfiguration, ...]:
    """Return the configurations of a session of about `session_s`; their number is the batch, the smallest first.

    Every batch gets the time for its minimum number of calls, and an equal part of the remaining time.
    """
    least_s: dict[int, float] = defaultdict(float)
    for step in (step for sweep in sweeps for step in sweep.steps):
        least_s[step.batch] += max(_REPEATS * step.call_ns, _MIN_NS) / 1e9
    extra_s = max(session_s - sum(least_s.values()), 0) / max(len(least_s), 1)
    return tuple(
        TimedConfiguration(
            number=batch,
            threads=threads,
            batch=batch,
            models=tuple(m for m, sweep in enumerate(sweeps) if batch in {step.batch for step in sweep.steps}),
            budget_s=least_s[batch] + extra_s,
        )
        for batch in sorted(least_s)
    )


def _is_configured(context: Context) -> bool:
    return "offline" in context.config.mode


def _axes(context: Context, threads: int, **batch: int) -> dict[str, str | int]:
    return {"provider": context.config.provider, "threads": threads, **batch, "mode": "offline"}


def _throughputs(model: BenchModel, samples: OfflineSamples, context: Context) -> Iterator[Measurement]:
    """Yield a model's throughput at each batch, and the largest."""
    if not (by_batch := samples.by_batch(model.id)):
        return
    sweep = samples.sweeps[model.id]
    source = f"onnxruntime, {context.config.sessions} sessions, models interleaved, threads spinning within a call"
    rates = []
    for batch, data in by_batch.items():
        estimate = statistics.rate(statistics.clustered_mean(data, seed=SEED, plan=samples.plan), batch)
        axes, unstable = _axes(context, samples.threads, batch=batch), instability(data)
        spread = context.earlier_runs.spreads(model.facts.sha256, axes, {_RATE: estimate})[_RATE]
        rates.append(
            estimated_across_runs(model.id, _RATE, estimate, spread, axes=axes, source=source, unstable=unstable)
        )
    yield from rates
    if sweep.ended == "fault":
        axes = _axes(context, samples.threads, batch=sweep.next_batch)
        yield missing(model.id, _RATE, sweep.fault, status="error", axes=axes)
    best = max(rates, key=lambda m: m.value or 0.0)
    best_batch = f"batch {best.axes['batch']} of {min(by_batch)} to {max(by_batch)}; {_end_reason(sweep)}"
    axes = _axes(context, samples.threads)
    yield best.model_copy(update={"metric": _BEST, "axes": axes, "source": f"{source}; {best_batch}"})


def _end_reason(sweep: Sweep) -> str:
    """Return why a sweep ended, in words."""
    return {
        "saturated": "larger batches gave no higher throughput",
        "memory": f"batch {sweep.next_batch} might need more memory than is safe",
        "budget": f"the budget was too short for batch {sweep.next_batch}",
        "fixed": "the model's batch is fixed",
        "fault": f"batch {sweep.next_batch} failed: {sweep.fault}",
    }[sweep.ended]


def _end_warnings(model: BenchModel, samples: OfflineSamples) -> Iterator[Diagnostic]:
    """Yield a warning if the sweep ended early: larger batches might have a larger throughput."""
    sweep = samples.sweeps.get(model.id, Sweep())
    if sweep.steps and sweep.ended in _REMEDIES:
        message = f"throughput offline with {units.threads(samples.threads)} may be larger: {_end_reason(sweep)}"
        remedy = _REMEDIES[sweep.ended]
        yield Diagnostic(code="offline_shortened", message=message, remedy=remedy, model=model.id)


def _ratio(teacher: BenchModel, student: BenchModel, samples: OfflineSamples, context: Context) -> Iterator[Pair]:
    """Yield the ratio of the largest throughputs, student over teacher, each at its own best batch.

    It is computed within sessions, in which both models ran.
    """
    by_batch = [samples.by_batch(model.id) for model in (teacher, student)]
    if not all(by_batch):
        return
    teacher_rates, student_rates = map(_session_rates, by_batch)
    logs = np.log(student_rates) - np.log(teacher_rates)
    estimate = statistics.paired_ratio([np.array([log]) for log in logs], plan=samples.plan)
    axes = _axes(context, samples.threads)
    yield estimated_pair(teacher.id, student.id, "throughput_ratio", estimate, axes=axes)


def _session_rates(by_batch: Mapping[int, Clustered]) -> NDArray[np.float64]:
    """Return each session's throughput (samples per second) at the batch with the largest mean of all sessions."""
    batch, data = max(by_batch.items(), key=lambda item: item[0] / item[1].values.mean())
    return np.array([batch * 1e9 / data.values[data.session == s].mean() for s in np.unique(data.session)])
