"""Latency samples made into measurements, ratios and warnings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.measure.configurations import Configuration
from kdbench.measure.interleaved import BLOCK_NS, LEAST_ROUNDS, WARM_UP_RULE
from kdbench.measure.jobs import GRAPH_OPTIMIZATION
from kdbench.measure.latency import Sampled
from kdbench.measure.protocol import Findings, Protocol, Subject, interval, students
from kdbench.records import Measurement, Pair, Status, measured, missing
from kdbench.statistics import Clustered, Estimate

PERCENTILES = {50: "latency_p50_ns", 90: "latency_p90_ns", 95: "latency_p95_ns", 99: "latency_p99_ns"}
_ALL = ("latency_p50_ns", "latency_mean_ns", "latency_p90_ns", "latency_p95_ns", "latency_p99_ns", "throughput_per_s")
UNSTABLE_SPREAD = 0.1


def latency_findings(subjects: Sequence[Subject], sampled: Sampled, protocol: Protocol) -> Findings:
    """Return the latencies of every subject in every configuration, the ratios of students, and the raw samples."""
    measurements: list[Measurement] = []
    for number, configuration in enumerate(sampled.configurations):
        for index, subject in enumerate(subjects):
            if index in configuration.models:
                measurements += _of_configuration(subject, number, sampled, protocol)
            elif configuration.batch in {1, *protocol.batch}:
                reason = f"the model's batch is fixed at {subject.facts.fixed_batch}"
                hint = "export it with a dynamic batch"
                axes = configuration.axes(protocol.provider)
                measurements += [missing(subject.id, m, reason, hint=hint, axes=axes) for m in _ALL]
    pairs = tuple(
        _ratio(teacher, student, number, sampled, protocol)
        for number in range(len(sampled.configurations))
        for teacher, student in students(subjects)
    )
    return Findings(tuple(measurements), pairs, samples=_raw(sampled, protocol.provider))


def protocol_facts(sampled: Sampled, protocol: Protocol) -> dict[str, Any]:
    """Return how the samples were taken, as a record's `protocol` holds it; of what was not sampled nothing."""
    facts: dict[str, Any] = {
        "seed": protocol.seed,
        "block_ns": BLOCK_NS,
        "least_rounds": LEAST_ROUNDS,
        "warm_up": WARM_UP_RULE,
        "spinning": True,
        "graph_optimization": GRAPH_OPTIMIZATION,
    }
    if calls := [count for counts in sampled.warm_up_calls.values() for count in counts]:
        facts["warm_up_calls"] = {"least": min(calls), "most": max(calls)}
    if len(sampled.floor_ns):
        facts["floor_ns"] = float(np.median(sampled.floor_ns))
    return facts


def _of_configuration(subject: Subject, number: int, sampled: Sampled, protocol: Protocol) -> list[Measurement]:
    configuration = sampled.configurations[number]
    axes = configuration.axes(protocol.provider)
    data = sampled.samples.get((subject.id, number))
    if data is None:
        reason = sampled.failed.get(subject.id, "no session timed it")
        return [missing(subject.id, m, reason, status="error", axes=axes) for m in _ALL]
    warm_up = np.median(sampled.warm_up_calls[subject.id, number])
    source = f"onnxruntime, {protocol.sessions} sessions, each after {warm_up:.0f} calls of warm-up, threads spinning"
    unstable = instability(data)
    found = []
    admitted = [p for p in PERCENTILES if p == 50 or len(data.values) >= statistics.samples_needed(p)]
    quantiles = statistics.clustered_quantiles(data, [p / 100 for p in admitted], seed=protocol.seed)
    estimates = {PERCENTILES[p]: e for p, e in zip(admitted, quantiles, strict=True)}
    mean = statistics.clustered_mean(data, seed=protocol.seed)
    estimates |= {"latency_mean_ns": mean, "throughput_per_s": _rate(mean, configuration)}
    for metric, e in estimates.items():
        found.append(
            measured(
                subject.id, metric, e.value, axes=axes, interval=interval(e), n=e.n, source=source, unstable=unstable
            )
        )
    for p in PERCENTILES.keys() - set(admitted):
        reason = f"needs {statistics.samples_needed(p)} samples, has {len(data.values)}"
        found.append(
            missing(subject.id, PERCENTILES[p], reason, hint="give it a longer --budget", axes=axes, source=source)
        )
    return sorted(found, key=lambda m: _ALL.index(m.metric))


def instability(data: Clustered) -> str | None:
    """Return why no gate may rely on these samples, or None."""
    spread = statistics.session_spread(data)
    return f"sessions differ by {100 * spread:.0f} %" if spread >= UNSTABLE_SPREAD else None


def _rate(mean_ns: Estimate, configuration: Configuration) -> Estimate:
    samples_ns = configuration.batch * 1e9
    assert (mean_ns.low is None) == (mean_ns.high is None)
    low = None if mean_ns.high is None else samples_ns / mean_ns.high
    high = None if mean_ns.low is None else samples_ns / mean_ns.low
    return Estimate(samples_ns / mean_ns.value, low, high, mean_ns.n)


def _ratio(teacher: Subject, student: Subject, number: int, sampled: Sampled, protocol: Protocol) -> Pair:
    axes = sampled.configurations[number].axes(protocol.provider)
    both = [sampled.samples.get((who.id, number)) for who in (teacher, student)]
    of_teacher, of_student = both
    if of_teacher is None or of_student is None:
        who = teacher if of_teacher is None else student
        failed = who.id in sampled.failed
        reason = f"{who.card.name}: {sampled.failed.get(who.id, 'not measured at this batch')}"
        status: Status = "error" if failed and who is student else "unavailable"
        return Pair(
            metric="latency_ratio",
            teacher=teacher.id,
            student=student.id,
            axes=axes,
            value=None,
            status=status,
            reason=reason,
        )
    ratio = statistics.paired_ratio(log_ratios(of_teacher, of_student))
    return Pair(
        metric="latency_ratio",
        teacher=teacher.id,
        student=student.id,
        axes=axes,
        value=ratio.value,
        interval=interval(ratio),
        n=ratio.n,
    )


def log_ratios(teacher: Clustered, student: Clustered) -> list[NDArray[np.float64]]:
    """Return, for each session, the log ratio of the block medians of every round."""
    sessions = np.unique(teacher.session)
    return [_log_medians(teacher, s) - _log_medians(student, s) for s in sessions]


def _log_medians(data: Clustered, session: int) -> NDArray[np.float64]:
    chosen = data.session == session
    values, blocks = data.values[chosen], data.block[chosen]
    # Blocks follow each other and are of one length.
    medians: NDArray[np.float64] = np.log(np.median(values.reshape(blocks.max() + 1, -1), axis=1))
    return medians


def _raw(sampled: Sampled, provider: str) -> dict[str, NDArray[np.generic]]:
    raw: dict[str, NDArray[np.generic]] = {"floor_ns": sampled.floor_ns}
    for (id_, number), data in sampled.samples.items():
        c = sampled.configurations[number]
        key = f"{id_}/{c.key(provider)}"
        raw[f"{key}/ns"] = data.values.astype(np.int64)
        raw[f"{key}/session"] = data.session.astype(np.int32)
        raw[f"{key}/block"] = data.block.astype(np.int32)
    return raw
