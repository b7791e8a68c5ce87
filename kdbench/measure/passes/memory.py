"""The memory pass: peak memory of loading and running each model, resident, and on a GPU the device's too."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.measure.context import PASSES, Context, Expected, Pass, expected_of, expected_pair
from kdbench.measure.runner import ProcessResults
from kdbench.measure.same_graph import GraphGroups
from kdbench.measure.staging import null_model
from kdbench.measure.timed import ONNXRUNTIME, TimedModel, TimingConfig, axes_of, compared, outer_batches
from kdbench.results.findings import Failure, Findings, interval_of, missing_pair
from kdbench.results.records import Axes, Interval, Measurement, Pair, measured, missing
from kdbench.statistics import prediction
from kdbench.worker.jobs import MemoryJob

PROCESSES = 3
# The first call of a shape records what its activations need; the second allocates one block of that size in addition
# to the pieces of the first (onnxruntime's memory pattern); after that nothing grows.
CALLS = 3
_UNSTABLE_SPREAD, _UNSTABLE_BYTES = 0.1, 1_000_000  # both: a few more pages of a small model are not instability
_RESIDENT = ("peak_memory_bytes", "model_memory_bytes")


@PASSES.register("memory")
class MemoryPass(Pass):
    """Peak memory at batch 1 and at the largest batch, a fixed batch at its own only.

    Each is the median of PROCESSES fresh processes, which load one model and nothing else. Models of one graph share
    them.
    """

    order = 60

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield the metrics at every batch, and the ratio at the student's smallest."""
        metrics = (*_RESIDENT, *(["device_memory_bytes"] if context.config.provider == "cuda" else []))
        for model in context.timed:
            for batch in outer_batches(model, context.config):
                yield from expected_of([model], metrics, context.axes(batch=batch), ONNXRUNTIME)
        for teacher, student in compared(context.timed):
            yield expected_pair(teacher, student, "memory_ratio", _pair_axes(context.config, student), ONNXRUNTIME)

    def weight(self, context: Context) -> float:
        """Return the estimated seconds of the processes."""
        shares = GraphGroups.of(context).shares(PROCESSES)
        return 0.5 * sum(shares[model.id] * len(outer_batches(model, context.config)) for model in context.ready)

    def run(self, context: Context) -> Findings:
        """Measure; `protocol` holds what a process takes before the model: interpreter, numpy, runtime and inputs."""
        config, null = context.config, null_model(context.folder)
        jobs = {
            (model.id, batch): MemoryJob(
                model=context.jobs[model.id],
                provider=config.provider,
                threads=config.threads[0],
                batch=batch,
                calls=CALLS,
                null=null,
            )
            for model in context.ready
            for batch in outer_batches(model, config)
        }
        same_graph = GraphGroups.of(context)
        shares, models = same_graph.shares(PROCESSES), {key: key[0] for key in jobs}
        alone = context.runner.run_in_turns(jobs, {key: shares[id_] for key, id_ in models.items()}, context.progress)
        results = same_graph.pooled(alone, models)
        shared = {key: same_graph.shared_with(key[0], _at_batch(results, key[1])) for key in results.results}
        return memory_findings(context.ready, results, config, shared)


def memory_findings(
    models: Sequence[TimedModel],
    results: ProcessResults,
    config: TimingConfig,
    shared: Mapping[tuple[str, int], str] = MappingProxyType({}),
) -> Findings:
    """Return the medians over the processes of each model at each batch, the keys of `results`, and students' ratios.

    `shared` maps a source to the other models that took part.
    """
    measurements = [m for key in results.results for m in _measurements(key, results, config, shared.get(key, ""))]
    findings = Findings(
        tuple(measurements),
        tuple(pair for t, s in compared(models) for pair in _ratio(t, s, measurements, config)),
        failures=tuple(Failure(id_, why, axes={"batch": batch}) for (id_, batch), why in results.failed.items()),
    )
    if not results.results:
        return findings
    smallest = min(results.results, key=lambda key: key[1])
    baseline = float(np.median(results.values(smallest, "baseline_bytes")))
    return findings + Findings(protocol={"memory_processes": PROCESSES, "memory_before_the_model_bytes": baseline})


def _at_batch(results: ProcessResults, batch: int) -> dict[str, object]:
    return {other: None for other, at in results.results if at == batch}


def spread(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return how far the extremes of `values`, none negative, are apart, as a share of the largest."""
    largest = float(np.max(values))
    return float(np.ptp(values)) / largest if largest else 0.0


def _pair_axes(config: TimingConfig, student: TimedModel) -> Axes:
    return axes_of(config, batch=outer_batches(student, config)[0])


def _measurements(
    key: tuple[str, int], results: ProcessResults, config: TimingConfig, shared: str
) -> Iterator[Measurement]:
    id_, axes = key[0], axes_of(config, batch=key[1])
    peak, baseline = results.values(key, "peak_bytes"), results.values(key, "baseline_bytes")
    since = results.results[key][0]["since"]
    processes = f"median of {len(peak)} fresh processes, arena on, {CALLS} calls{shared}"
    source = f"onnxruntime, high-water mark since {since}, {processes}"
    for metric, values in zip(_RESIDENT, (peak, peak - baseline), strict=True):
        share = spread(values)
        unlike = share > _UNSTABLE_SPREAD and np.ptp(values) > _UNSTABLE_BYTES
        unstable = f"processes differ by {100 * share:.0f} %" if unlike else None
        median, n = float(np.median(values)), len(values)
        interval = interval_of(prediction(np.maximum(values, 1.0))) if unlike else None
        yield measured(id_, metric, median, axes=axes, interval=interval, n=n, source=source, unstable=unstable)
    if config.provider == "cuda":
        yield _on_device(id_, axes, results.results[key])


def _on_device(id_: str, axes: Axes, results: Sequence[Mapping[str, Any]]) -> Measurement:
    values = [result["device_bytes"] for result in results if result["device_bytes"] is not None]
    if not values:
        reason = next(result["device_error"] for result in results)
        return missing(id_, "device_memory_bytes", reason, hint="check nvidia-smi", axes=axes)
    source = next(result["device_source"] for result in results if result["device_source"])
    source = f"{source}, after {CALLS} calls, arena and CUDA context included"
    return measured(id_, "device_memory_bytes", float(np.median(values)), axes=axes, n=len(values), source=source)


def _ratio(
    teacher: TimedModel, student: TimedModel, measurements: Sequence[Measurement], config: TimingConfig
) -> Iterator[Pair]:
    """Yield teacher over student of the whole process's peak; nothing if a process of either failed."""
    axes = _pair_axes(config, student)
    if axes["batch"] not in outer_batches(teacher, config):
        reason = f"{teacher.name}: not measured at batch {axes['batch']}"
        yield missing_pair(teacher.id, student.id, "memory_ratio", reason, axes=axes)
        return
    peaks = {m.model: m for m in measurements if m.metric == _RESIDENT[0] and m.axes == axes}
    above, below = peaks.get(teacher.id), peaks.get(student.id)
    if above and below and above.value is not None and below.value is not None:
        unstable = next((m.reason for m in (above, below) if m.status == "unstable"), None)
        yield Pair(
            metric="memory_ratio",
            teacher=teacher.id,
            student=student.id,
            axes=axes,
            value=above.value / below.value,
            n=below.n,
            interval=_quotient(above, below),
            status="unstable" if unstable else "ok",
            reason=unstable,
        )


def _quotient(above: Measurement, below: Measurement) -> Interval | None:
    """Return the extremes of the quotient of two peaks, where either has an interval."""
    if above.interval is None and below.interval is None:
        return None
    (a_low, a_high), (b_low, b_high) = map(_extremes, (above, below))
    return Interval(low=a_low / b_high, high=a_high / b_low)


def _extremes(peak: Measurement) -> tuple[float, float]:
    assert peak.value is not None
    return (peak.interval.low, peak.interval.high) if peak.interval else (peak.value, peak.value)
