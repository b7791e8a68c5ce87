"""Offline throughput: the most samples a second that each model reaches, over batches of 1, 2, 4 and so on."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics, units
from kdbench.errors import MeasurementError
from kdbench.measure.bench_model import SEED, BenchModel, students
from kdbench.measure.latency.findings import instability
from kdbench.measure.offline.sessions import BUDGET_SHARE, OfflineSamples, sample_offline
from kdbench.progress import SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.findings import Findings, interval_of
from kdbench.results.records import Diagnostic, Measurement, Pair, measured, missing
from kdbench.results.samples import call_arrays, calls_key
from kdbench.statistics import Clustered
from kdbench.worker.batch_sweep import RULE, Sweep
from kdbench.worker.jobs import JobModel

_BEST = "max_throughput_per_s"
_REMEDIES = {
    "memory": "measure with more memory, or fewer models at a time",
    "budget": "give it a longer --budget",
    "fault": "free memory where it ran out of that, else try another version of the runtime",
}


def offline_findings(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    config: Measure,
    folder: Path,
    progress: SubProgress,
) -> Findings:
    """Return the throughput of every subject at every batch, the largest of them, and students' ratios of it.

    Without "offline" among the protocol's modes there is nothing to find.
    """
    if "offline" not in config.mode:
        return Findings()
    try:
        taken = sample_offline(subjects, models, config, folder, progress)
    except MeasurementError as error:
        failed = {s.id: error.message for s in subjects}
        taken = [OfflineSamples(threads, {}, {}, failed) for threads in config.threads]
    found = Findings(
        protocol={"offline_s": BUDGET_SHARE * config.budget_s, "offline_sessions": config.sessions, "offline": RULE}
    )
    for each in taken:
        found += Findings(
            measurements=tuple(m for s in subjects for m in _of_subject(s, each, config)),
            pairs=tuple(_ratio(teacher, student, each, config) for teacher, student in students(subjects)),
            warnings=tuple(w for s in subjects if (w := _shortened(s, each)) is not None),
            samples=_raw(each, config),
            conditions=each.conditions,
        )
    return found


def _axes(config: Measure, threads: int, batch: int | None = None) -> dict[str, str | int]:
    at: dict[str, str | int] = {"provider": config.provider, "threads": threads}
    if batch is not None:
        at["batch"] = batch
    return {**at, "mode": "offline"}


def _of_subject(subject: BenchModel, taken: OfflineSamples, config: Measure) -> Iterator[Measurement]:
    sweep = taken.sweeps.get(subject.id, Sweep())
    by_batch = _by_batch(subject, taken)
    source = f"onnxruntime, {config.sessions} sessions, models interleaved, threads spinning within a call"
    rates = []
    for batch, data in by_batch.items():
        e = statistics.rate(statistics.clustered_mean(data, seed=SEED, plan=taken.plan), batch)
        at, unstable = _axes(config, taken.threads, batch), instability(data)
        rates.append(
            measured(
                subject.id,
                "throughput_per_s",
                e.value,
                axes=at,
                interval=interval_of(e),
                n=e.n,
                source=source,
                unstable=unstable,
            )
        )
    yield from rates
    at = _axes(config, taken.threads)
    if not rates:
        reason = taken.failed.get(subject.id) or sweep.fault or "no session timed it"
        yield missing(subject.id, _BEST, reason, status="error", axes=at)
        return
    if sweep.ended == "fault":
        refused = _axes(config, taken.threads, sweep.next_batch)
        yield missing(subject.id, "throughput_per_s", sweep.fault, status="error", axes=refused)
    best = max(rates, key=lambda m: m.value or 0.0)
    ladder = f"batch {best.axes['batch']} of {min(by_batch)} to {max(by_batch)}; {_end(sweep)}"
    yield best.model_copy(update={"metric": _BEST, "axes": at, "source": f"{source}; {ladder}"})


def _by_batch(subject: BenchModel, taken: OfflineSamples) -> dict[int, Clustered]:
    return {batch: data for (id_, batch), data in sorted(taken.samples.items()) if id_ == subject.id}


def _end(sweep: Sweep) -> str:
    """Say why a sweep went no further."""
    return {
        "saturated": "further doublings brought no more",
        "memory": f"batch {sweep.next_batch} might take more memory than is safe",
        "budget": f"the budget was too short for batch {sweep.next_batch}",
        "fixed": "the model's batch is fixed",
        "fault": f"batch {sweep.next_batch} failed: {sweep.fault}",
    }[sweep.ended]


def _shortened(subject: BenchModel, taken: OfflineSamples) -> Diagnostic | None:
    """Return the warning that larger batches, which were not tried, might bring more; or None."""
    sweep = taken.sweeps.get(subject.id)
    if sweep is None or not sweep.steps or sweep.ended not in _REMEDIES:
        return None
    return Diagnostic(
        code="offline_shortened",
        message=f"throughput offline with {units.threads(taken.threads)} may be larger: {_end(sweep)}",
        remedy=_REMEDIES[sweep.ended],
        model=subject.id,
    )


def _ratio(teacher: BenchModel, student: BenchModel, taken: OfflineSamples, config: Measure) -> Pair:
    """Return student over teacher of the largest throughputs, each at its own best batch, in the same sessions."""
    both = {"teacher": teacher.id, "student": student.id, "axes": _axes(config, taken.threads)}
    rates = {who.id: _session_rates(_by_batch(who, taken)) for who in (teacher, student)}
    for who in (teacher, student):
        if not len(rates[who.id]):
            why = taken.failed.get(who.id) or taken.sweeps.get(who.id, Sweep()).fault or "no session timed it"
            reason = f"{who.card.name}: {why}"
            return Pair(metric="throughput_ratio", value=None, status="unavailable", reason=reason, **both)
    logs = np.log(rates[student.id]) - np.log(rates[teacher.id])
    e = statistics.paired_ratio([np.array([each]) for each in logs], plan=taken.plan)
    return Pair(metric="throughput_ratio", value=e.value, interval=interval_of(e), n=e.n, **both)


def _session_rates(by_batch: Mapping[int, Clustered]) -> NDArray[np.float64]:
    """Return the samples a second of each session at the batch where all sessions together have the most."""
    if not by_batch:
        return np.empty(0)
    batch, data = max(by_batch.items(), key=lambda item: item[0] / item[1].values.mean())
    return np.array([batch * 1e9 / data.values[data.session == s].mean() for s in np.unique(data.session)])


def _raw(taken: OfflineSamples, config: Measure) -> dict[str, NDArray[np.generic]]:
    calls = {calls_key(id_, _axes(config, taken.threads, batch)): data for (id_, batch), data in taken.samples.items()}
    return call_arrays(calls)
