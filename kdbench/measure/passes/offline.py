"""The offline pass: the most samples a second that each model reaches, over batches of 1, 2, 4 and so on."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics, units
from kdbench.errors import MeasurementError
from kdbench.measure.bench_model import SEED, BenchModel, students
from kdbench.measure.context import ONNXRUNTIME, PASSES, Context, Expected, Pass, expected_of, expected_pair
from kdbench.measure.latency.diagnosis import instability
from kdbench.measure.latency.offline import BUDGET_SHARE, OfflineSamples, sample_offline
from kdbench.results.findings import Failure, Findings, estimated, estimated_pair
from kdbench.results.records import Diagnostic, Measurement, Pair, missing
from kdbench.results.samples import call_arrays, calls_key
from kdbench.statistics import Clustered
from kdbench.worker.batch_sweep import RULE, Sweep

_BEST = "max_throughput_per_s"
_REMEDIES = {
    "memory": "measure with more memory, or fewer models at a time",
    "budget": "give it a longer --budget",
    "fault": "free memory if it ran out of that, else try another version of the runtime",
}


@PASSES.register("offline")
class OfflinePass(Pass):
    """The throughput of every model at every batch, the largest of them, and students' ratios of the largest.

    It needs "offline" among the configured modes.
    """

    order = 80

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield the largest throughputs and their ratios; their batches are known only after measuring."""
        for threads in context.config.threads if _is_configured(context) else ():
            yield from expected_of(context.timed, [_BEST], _axes(context, threads), ONNXRUNTIME)
            for teacher, student in students(context.timed):
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
            findings += Findings(
                measurements=tuple(m for model in context.ready for m in _of_model(model, samples, context)),
                pairs=tuple(pair for t, s in students(context.ready) for pair in _ratio(t, s, samples, context)),
                warnings=tuple(warning for model in context.ready for warning in _shortened(model, samples)),
                samples=_raw(samples, context),
                failures=tuple(
                    Failure(
                        id_,
                        samples.failed.get(id_) or samples.sweep(id_).fault or "no session timed it",
                        axes={"threads": samples.threads},
                    )
                    for id_ in (model.id for model in context.ready)
                    if not samples.by_batch(id_)
                ),
            )
        return findings


def _is_configured(context: Context) -> bool:
    return "offline" in context.config.mode


def _axes(context: Context, threads: int, **batch: int) -> dict[str, str | int]:
    return {"provider": context.config.provider, "threads": threads, **batch, "mode": "offline"}


def _of_model(model: BenchModel, samples: OfflineSamples, context: Context) -> Iterator[Measurement]:
    """Yield the throughput at each batch, and the largest."""
    sweep, by_batch = samples.sweep(model.id), samples.by_batch(model.id)
    if not by_batch:
        return
    source = f"onnxruntime, {context.config.sessions} sessions, models interleaved, threads spinning within a call"
    rates = []
    for batch, data in by_batch.items():
        estimate = statistics.rate(statistics.clustered_mean(data, seed=SEED, plan=samples.plan), batch)
        axes, unstable = _axes(context, samples.threads, batch=batch), instability(data)
        rates.append(estimated(model.id, "throughput_per_s", estimate, axes=axes, source=source, unstable=unstable))
    yield from rates
    if sweep.ended == "fault":
        axes = _axes(context, samples.threads, batch=sweep.next_batch)
        yield missing(model.id, "throughput_per_s", sweep.fault, status="error", axes=axes)
    best = max(rates, key=lambda m: m.value or 0.0)
    ladder = f"batch {best.axes['batch']} of {min(by_batch)} to {max(by_batch)}; {_end(sweep)}"
    axes = _axes(context, samples.threads)
    yield best.model_copy(update={"metric": _BEST, "axes": axes, "source": f"{source}; {ladder}"})


def _end(sweep: Sweep) -> str:
    """Return why a sweep went no further."""
    return {
        "saturated": "further doublings brought no more",
        "memory": f"batch {sweep.next_batch} might take more memory than is safe",
        "budget": f"the budget was too short for batch {sweep.next_batch}",
        "fixed": "the model's batch is fixed",
        "fault": f"batch {sweep.next_batch} failed: {sweep.fault}",
    }[sweep.ended]


def _shortened(model: BenchModel, samples: OfflineSamples) -> Iterator[Diagnostic]:
    """Yield a warning if larger batches, which were not tried, might bring more."""
    sweep = samples.sweep(model.id)
    if sweep.steps and sweep.ended in _REMEDIES:
        message = f"throughput offline with {units.threads(samples.threads)} may be larger: {_end(sweep)}"
        remedy = _REMEDIES[sweep.ended]
        yield Diagnostic(code="offline_shortened", message=message, remedy=remedy, model=model.id)


def _ratio(teacher: BenchModel, student: BenchModel, samples: OfflineSamples, context: Context) -> Iterator[Pair]:
    """Yield student over teacher of the largest throughputs, each at its best batch, in the same sessions."""
    both = [samples.by_batch(model.id) for model in (teacher, student)]
    if not all(both):
        return
    of_teacher, of_student = map(_session_rates, both)
    logs = np.log(of_student) - np.log(of_teacher)
    estimate = statistics.paired_ratio([np.array([log]) for log in logs], plan=samples.plan)
    axes = _axes(context, samples.threads)
    yield estimated_pair(teacher.id, student.id, "throughput_ratio", estimate, axes=axes)


def _session_rates(by_batch: Mapping[int, Clustered]) -> NDArray[np.float64]:
    """Return the samples a second of each session at the batch where all sessions together have the most."""
    batch, data = max(by_batch.items(), key=lambda item: item[0] / item[1].values.mean())
    return np.array([batch * 1e9 / data.values[data.session == s].mean() for s in np.unique(data.session)])


def _raw(samples: OfflineSamples, context: Context) -> dict[str, NDArray[np.generic]]:
    axes = {batch: _axes(context, samples.threads, batch=batch) for _, batch in samples.samples}
    return call_arrays({calls_key(id_, axes[batch]): data for (id_, batch), data in samples.samples.items()})
