"""The latency pass: latencies, throughputs and ratios, estimated from the samples of sessions."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kdbench import statistics
from kdbench.errors import MeasurementError
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import PASSES, Context, Expected, Pass, expected_of, expected_pair
from kdbench.measure.earlier_runs import EarlierRuns
from kdbench.measure.latency.configurations import Configuration, configurations
from kdbench.measure.latency.diagnosis import imprecision, instability, latency_warnings, saturation
from kdbench.measure.latency.ratios import ratio
from kdbench.measure.latency.runtimes import METRIC as RUNTIME_RATIO
from kdbench.measure.latency.runtimes import paired_configurations, ratio_axes, runtime_ratios
from kdbench.measure.latency.sessions import SessionSamples, sample
from kdbench.measure.timed import SEED, TimedModel, TimingConfig, compared
from kdbench.results.findings import Failure, Findings, estimated_across_runs, estimated_pair, missing_pair
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Measurement, Pair, missing
from kdbench.results.samples import call_arrays, calls_key
from kdbench.worker.jobs import GRAPH_OPTIMIZATION
from kdbench.worker.loads import BLOCK_NS, MIN_ROUNDS
from kdbench.worker.timing import WARM_UP_RULE

PERCENTILES = {50: "latency_p50_ns", 90: "latency_p90_ns", 95: "latency_p95_ns", 99: "latency_p99_ns"}
_LATENCIES = metrics_in("latency")
_NO_EARLIER_RUNS = EarlierRuns()


@PASSES.register("latency")
class LatencyPass(Pass):
    """Latency and throughput of every model in every configuration, and students' speed-ups."""

    order = 70

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield the metrics of every configuration, refused models included."""
        models, provider = [replace(m, refusal=None, refused={}) for m in context.timed], context.config.provider
        pairs = compared(models)
        for configuration in configurations(models, context.config):
            axes, runtime = configuration.axes(provider), configuration.runtime
            called = [models[index] for index in configuration.models]
            yield from expected_of(called, _metrics(configuration), axes, runtime)
            ids = {model.id for model in called}
            for teacher, student in pairs if configuration.mode != "server" else ():
                if student.id in ids:
                    yield expected_pair(teacher, student, "latency_ratio", axes, runtime)
        for base, other in paired_configurations(configurations(models, context.config), context.config):
            called = [models[index] for index in other.models]
            yield from expected_of(called, [RUNTIME_RATIO], ratio_axes(base, other, provider), other.runtime)

    def weight(self, context: Context) -> float:
        """Return the budget."""
        return context.config.budget_s if configurations(_measurable_timed(context), context.config) else 0.0

    def run(self, context: Context) -> Findings:
        """Run sessions; none if every runtime refused every model, or `offline` is the only mode."""
        models, config = _measurable_timed(context), context.config
        cells = configurations(models, config)
        if not cells:
            return Findings()
        failures: tuple[Failure, ...] = ()
        try:
            sampled = sample(context, models)
        except MeasurementError as error:
            sampled, failures = SessionSamples(cells), (Failure(None, error.message),)
        return latency_findings(models, sampled, config, context.earlier_runs) + Findings(
            warnings=(*imprecision(sampled.width, config, sampled.plan), *latency_warnings(sampled, config)),
            protocol=protocol_facts(sampled, config),
            failures=failures,
        )


def latency_findings(
    models: Sequence[TimedModel],
    sampled: SessionSamples,
    config: TimingConfig,
    earlier_runs: EarlierRuns = _NO_EARLIER_RUNS,
) -> Findings:
    """Return the latencies of the models in every configuration, the ratios of students, and the raw samples.

    The latencies are added to `earlier_runs`, whose scatter affects the width of their intervals.
    """
    measurements: list[Measurement] = []
    failures: list[Failure] = []
    axes_of = [configuration.axes(config.provider) for configuration in sampled.configurations]
    for number, (configuration, axes) in enumerate(zip(sampled.configurations, axes_of, strict=True)):
        for index, model in enumerate(models):
            if (model.id, number) in sampled.samples:
                measurements += _measurements(model, number, sampled, config, earlier_runs)
            elif index in configuration.models:
                reason = sampled.failed.get((model.id, number), "no session timed it")
                failures.append(Failure(model.id, reason, axes=axes))
            elif configuration.batch in {1, *config.batch} and model.refusal_in(configuration.runtime) is None:
                reason = f"the model's batch is fixed at {model.fixed_batch}"
                hint = "export it with a dynamic batch"
                measurements += [missing(model.id, m, reason, hint=hint, axes=axes) for m in _metrics(configuration)]
    pairs = tuple(
        pair
        for number, configuration in enumerate(sampled.configurations)
        if configuration.mode != "server"  # waiting times depend more on chance than on the model
        for teacher, student in compared(models)
        if teacher.refusal_in(configuration.runtime) is None and student.refusal_in(configuration.runtime) is None
        for pair in _ratio(teacher, student, number, sampled, config)
    )
    measurements += runtime_ratios(models, sampled.configurations, sampled.samples, sampled.plan, config)
    calls = {calls_key(id_, axes_of[number]): data for (id_, number), data in sampled.samples.items()}
    raw = {"floor_ns": sampled.floor_ns, **call_arrays(calls)}
    return Findings(tuple(measurements), pairs, samples=raw, failures=tuple(failures))


def _measurable_timed(context: Context) -> list[BenchModel]:
    return [model for model in context.measurable if model.timed]


def protocol_facts(sampled: SessionSamples, config: TimingConfig) -> dict[str, Any]:
    """Return how the samples were measured, for a record's `protocol`; without samples, only constants."""
    facts: dict[str, Any] = {
        "seed": SEED,
        "block_ns": BLOCK_NS,
        "least_rounds": MIN_ROUNDS,
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
        if sampled.width > 0:  # there is a headline ratio
            facts["widest_interval"] = round(sampled.width, 5) if np.isfinite(sampled.width) else None
            facts["stopped"] = "precise" if sampled.width <= config.precision else "budget"
    return facts


def _metrics(configuration: Configuration) -> tuple[str, ...]:
    """Return the metrics of a configuration; only calls that follow each other without a gap have a throughput."""
    return (*_LATENCIES, "throughput_per_s") if configuration.mode == "stream" else _LATENCIES


def _measurements(
    model: TimedModel, number: int, sampled: SessionSamples, config: TimingConfig, earlier_runs: EarlierRuns
) -> list[Measurement]:
    """Return the metrics of a model in configuration `number`."""
    configuration, data = sampled.configurations[number], sampled.undisturbed((model.id, number))
    plan = replace(sampled.plan, first=None, correlated=False)  # the ratios decided how many sessions ran
    axes, metrics = configuration.axes(config.provider), _metrics(configuration)
    if reason := saturation(configuration, sampled.call_ns[model.id, number]):
        hint = "lower the rate, or use more threads"
        return [missing(model.id, m, reason, hint=hint, status="invalid", axes=axes) for m in metrics]
    warm_up = f"{np.median(sampled.warm_up_calls[model.id, number]):.0f} calls of warm-up"
    spinning = ", threads spinning within a call" if configuration.runtime == "onnxruntime" else ""
    at_once = sampled.calls_at_once.get((model.id, number), 1)
    timing = f", {at_once} calls timed at once" if at_once > 1 else ""
    source = f"{configuration.runtime}, {sampled.sessions} sessions, each after {warm_up}{spinning}{timing}"
    needed = {p: 0 if p == 50 else statistics.samples_needed(p) for p in PERCENTILES}
    known = [p for p, n in needed.items() if len(data.values) >= n and (p == 50 or at_once == 1)]
    quantiles = statistics.clustered_quantiles(data, [p / 100 for p in known], seed=SEED, plan=plan)
    mean = statistics.clustered_mean(data, seed=SEED, plan=plan)
    estimates = {**{PERCENTILES[p]: q for p, q in zip(known, quantiles, strict=True)}, "latency_mean_ns": mean}
    spreads = earlier_runs.spreads(model.sha256, axes, estimates)
    estimates["throughput_per_s"] = statistics.rate(mean, configuration.batch)
    spreads["throughput_per_s"] = spreads["latency_mean_ns"]
    count = len(data.values)
    unknown = {PERCENTILES[p]: f"needs {n} samples, has {count}" for p, n in needed.items() if p not in known}
    unstable, hint = instability(data), "give it a longer --budget"
    if at_once > 1:
        unknown = dict.fromkeys(
            unknown, f"{at_once} calls are timed at once, because the clock of {configuration.runtime} is coarse"
        )
        hint = "a slower model, or a larger batch, has times of single calls"
    return [
        missing(model.id, metric, unknown[metric], hint=hint, axes=axes, source=source)
        if metric in unknown
        else estimated_across_runs(
            model.id, metric, estimates[metric], spreads[metric], axes=axes, source=source, unstable=unstable
        )
        for metric in metrics
    ]


def _ratio(
    teacher: TimedModel, student: TimedModel, number: int, sampled: SessionSamples, config: TimingConfig
) -> Iterator[Pair]:
    """Yield the student's speed-up in a configuration; nothing if one of the two models failed in it."""
    configuration = sampled.configurations[number]
    pair, axes = (teacher.id, student.id, "latency_ratio"), configuration.axes(config.provider)
    estimate = ratio(sampled.samples, teacher.id, student.id, number, sampled.plan)
    fixed = [model for model in (teacher, student) if model.fixed_batch not in {None, configuration.batch}]
    if estimate is not None:
        yield estimated_pair(*pair, estimate, axes=axes)
    elif fixed:
        yield missing_pair(*pair, f"{fixed[0].name}: its batch is fixed at {fixed[0].fixed_batch}", axes=axes)
    elif configuration.batch not in {1, *config.batch, student.fixed_batch}:
        yield missing_pair(*pair, f"{teacher.name}: not measured at batch {configuration.batch}", axes=axes)
