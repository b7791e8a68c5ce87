"""Latency samples made into measurements, ratios and raw samples to keep."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.measure.bench_model import SEED, BenchModel, students
from kdbench.measure.latency.configurations import Configuration
from kdbench.measure.latency.precision import ratio
from kdbench.measure.latency.sessions import Sampled
from kdbench.recipe.measure import Measure
from kdbench.results.findings import Findings, interval_of
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Measurement, Pair, Status, measured, missing
from kdbench.results.samples import call_arrays, calls_key
from kdbench.statistics import Clustered, Estimate, Plan
from kdbench.worker.interleaved import WARM_UP_RULE
from kdbench.worker.jobs import GRAPH_OPTIMIZATION
from kdbench.worker.loads import BLOCK_NS, LEAST_ROUNDS, SATURATED, Server

PERCENTILES = {50: "latency_p50_ns", 90: "latency_p90_ns", 95: "latency_p95_ns", 99: "latency_p99_ns"}
_LATENCIES = metrics_in("latency")
UNSTABLE_SPREAD = 0.1


def latency_findings(subjects: Sequence[BenchModel], sampled: Sampled, config: Measure) -> Findings:
    """Return the latencies of every subject in every configuration, the ratios of students, and the raw samples."""
    measurements: list[Measurement] = []
    for number, configuration in enumerate(sampled.configurations):
        for index, subject in enumerate(subjects):
            if index in configuration.models:
                measurements += _of_configuration(subject, number, sampled, config)
            elif configuration.batch in {1, *config.batch} and configuration.runtime not in subject.refused:
                reason = f"the model's batch is fixed at {subject.facts.fixed_batch}"
                hint = "export it with a dynamic batch"
                axes = configuration.axes(config.provider)
                measurements += [missing(subject.id, m, reason, hint=hint, axes=axes) for m in _metrics(configuration)]
    pairs = tuple(
        _ratio(teacher, student, number, sampled, config)
        for number, configuration in enumerate(sampled.configurations)
        if configuration.mode != "server"  # a wait depends on chance more than on the model
        for teacher, student in students(subjects)
        if configuration.runtime not in {*teacher.refused, *student.refused}
    )
    return Findings(tuple(measurements), pairs, samples=_raw(sampled, config.provider))


def protocol_facts(sampled: Sampled, config: Measure) -> dict[str, Any]:
    """Return how the samples were taken, as a record's `protocol` holds it; of what was not sampled nothing."""
    facts: dict[str, Any] = {
        "seed": SEED,
        "block_ns": BLOCK_NS,
        "least_rounds": LEAST_ROUNDS,
        "warm_up": WARM_UP_RULE,
        "spinning": "within calls",
        "graph_optimization": GRAPH_OPTIMIZATION,
    }
    if calls := [count for counts in sampled.warm_up_calls.values() for count in counts]:
        facts["warm_up_calls"] = {"least": min(calls), "most": max(calls)}
    if len(sampled.floor_ns):
        facts["floor_ns"] = float(np.median(sampled.floor_ns))
    if sampled.samples:
        facts |= {
            "sessions_taken": sampled.sessions,
            "latency_s": round(sampled.seconds, 2),
            "resolution": sampled.plan.resolution,
            "cores_used": None if sampled.cores is None else list(sampled.cores),
        }
        if sampled.width > 0:  # there was a headline to be precise about
            facts["widest_interval"] = round(sampled.width, 5) if np.isfinite(sampled.width) else None
            facts["stopped"] = "precise" if sampled.width <= config.precision else "budget"
    return facts


def _metrics(configuration: Configuration) -> tuple[str, ...]:
    """Return what is measured in a configuration: calls that do not follow each other at once have no throughput."""
    return (*_LATENCIES, "throughput_per_s") if configuration.mode == "stream" else _LATENCIES


def _of_configuration(subject: BenchModel, number: int, sampled: Sampled, config: Measure) -> list[Measurement]:
    configuration = sampled.configurations[number]
    axes = configuration.axes(config.provider)
    data = sampled.samples.get((subject.id, number))
    if data is None:
        reason = sampled.failed.get((subject.id, number), "no session timed it")
        return [missing(subject.id, m, reason, status="error", axes=axes) for m in _metrics(configuration)]
    if why := saturation(configuration, sampled.call_ns[subject.id, number]):
        hint = "name a lower rate, or more threads"
        return [missing(subject.id, m, why, hint=hint, status="invalid", axes=axes) for m in _metrics(configuration)]
    source = _source(configuration, sampled, sampled.warm_up_calls[subject.id, number])
    unstable = instability(data)
    admitted = [p for p in PERCENTILES if p == 50 or len(data.values) >= statistics.samples_needed(p)]
    found = [
        measured(
            subject.id, metric, e.value, axes=axes, interval=interval_of(e), n=e.n, source=source, unstable=unstable
        )
        for metric, e in _estimates(data, admitted, configuration, sampled.plan, SEED).items()
    ]
    for p in PERCENTILES.keys() - set(admitted):
        reason = f"needs {statistics.samples_needed(p)} samples, has {len(data.values)}"
        found.append(
            missing(subject.id, PERCENTILES[p], reason, hint="give it a longer --budget", axes=axes, source=source)
        )
    return sorted(found, key=lambda m: _metrics(configuration).index(m.metric))


def _estimates(
    data: Clustered, admitted: Sequence[int], configuration: Configuration, plan: Plan, seed: int
) -> dict[str, Estimate]:
    shares = [p / 100 for p in admitted]
    quantiles = statistics.clustered_quantiles(data, shares, seed=seed, plan=plan)
    estimates = {PERCENTILES[p]: e for p, e in zip(admitted, quantiles, strict=True)}
    mean = statistics.clustered_mean(data, seed=seed, plan=plan)
    estimates["latency_mean_ns"] = mean
    if configuration.mode == "stream":
        estimates["throughput_per_s"] = _rate(mean, configuration)
    return estimates


def _source(configuration: Configuration, sampled: Sampled, warm_up_calls: Sequence[int]) -> str:
    warm_up = f"{np.median(warm_up_calls):.0f} calls of warm-up"
    spinning = ", threads spinning within a call" if configuration.runtime == "onnxruntime" else ""
    return f"{configuration.runtime}, {sampled.sessions} sessions, each after {warm_up}{spinning}"


def saturation(configuration: Configuration, call_ns: Sequence[float]) -> str | None:
    """Return why a model cannot serve a configuration's arrivals, from the times of its warm calls; or None."""
    busy = Server(configuration.rate_per_s).busy(float(np.median(call_ns)))
    if busy < SATURATED:
        return None
    return f"{configuration.rate_per_s} calls a second would keep it busy {100 * busy:.0f} % of the time"


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


def _ratio(teacher: BenchModel, student: BenchModel, number: int, sampled: Sampled, config: Measure) -> Pair:
    configuration = sampled.configurations[number]
    axes = configuration.axes(config.provider)
    found = ratio(sampled.samples, teacher.id, student.id, number, sampled.plan)
    if found is not None:
        return Pair(
            metric="latency_ratio",
            teacher=teacher.id,
            student=student.id,
            axes=axes,
            value=found.value,
            interval=interval_of(found),
            n=found.n,
        )
    who = teacher if (teacher.id, number) not in sampled.samples else student
    failure = sampled.failed.get((who.id, number))
    fixed = who.facts.fixed_batch
    absence = f"its batch is fixed at {fixed}" if fixed not in {None, configuration.batch} else "not measured so"
    status: Status = "error" if failure and who is student else "unavailable"
    return Pair(
        metric="latency_ratio",
        teacher=teacher.id,
        student=student.id,
        axes=axes,
        value=None,
        status=status,
        reason=f"{who.card.name}: {failure or absence}",
    )


def _raw(sampled: Sampled, provider: str) -> dict[str, NDArray[np.generic]]:
    axes = [configuration.axes(provider) for configuration in sampled.configurations]
    calls = {calls_key(id_, axes[number]): data for (id_, number), data in sampled.samples.items()}
    return {"floor_ns": sampled.floor_ns, **call_arrays(calls)}
