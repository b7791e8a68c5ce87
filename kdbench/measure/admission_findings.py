"""What the record says of runtimes beside and without onnxruntime: how they started, and why one is missing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from kdbench.measure.admission import ONNXRUNTIME, Admitted
from kdbench.measure.bench_model import BenchModel, energy_metrics, outer_batches, students
from kdbench.measure.latency.configurations import Configuration, configurations
from kdbench.measure.network import Refusal
from kdbench.recipe.measure import Measure
from kdbench.results.findings import Findings
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, Measurement, Pair, Status, measured, missing

# What onnxruntime alone is asked for, at the provider of the latencies.
_OF_ONNXRUNTIME = metrics_in("cold start", "memory")
_STARTS = ("load_ns", "first_run_ns")  # of the other runtimes
_LATENCIES = metrics_in("latency")


def admission_findings(admitted: Admitted, config: Measure) -> Findings:
    """Return the starts of other runtimes, and for each runtime that was refused every number that it does not give."""
    subjects = [s for s in admitted.subjects if s.timed]
    return Findings(
        measurements=(*_starts(admitted, config), *_missing(subjects, config)),
        pairs=tuple(_missing_pairs(subjects, config)),
        protocol={"runtimes": dict(admitted.facts)} if admitted.facts else {},
    )


def _starts(admitted: Admitted, config: Measure) -> Iterator[Measurement]:
    for (name, id_), run in admitted.runs.items():
        axes = _start_axes(name, config)
        source = f"{name}, one fresh process; a compiler's cache on disk as it was found"
        for metric, ns in zip(_STARTS, (run.load_ns, run.first_run_ns), strict=True):
            yield measured(id_, metric, ns, axes=axes, n=1, source=source)


def _start_axes(name: str, config: Measure) -> Axes:
    axes: Axes = {"provider": config.provider, "threads": config.threads[0], "batch": 1}
    return axes if name == ONNXRUNTIME else {**axes, "runtime": name}


def _missing(subjects: Sequence[BenchModel], config: Measure) -> Iterator[Measurement]:
    for s in subjects:
        for name, why in s.refused.items():
            for metric in _of_onnxruntime(config) if name == ONNXRUNTIME else _STARTS:
                yield _without(s, metric, why, _start_axes(name, config))
            if name == ONNXRUNTIME:
                for metric, batch in product(energy_metrics(config), outer_batches(s, config)):
                    yield _without(s, metric, why, {**_start_axes(name, config), "batch": batch})
            for c in _configurations(s, name, config):
                for metric in [*_LATENCIES, *(["throughput_per_s"] if c.mode == "stream" else [])]:
                    yield _without(s, metric, why, c.axes(config.provider))


def _of_onnxruntime(config: Measure) -> tuple[str, ...]:
    return (*_OF_ONNXRUNTIME, *(["max_throughput_per_s"] if "offline" in config.mode else []))


def _missing_pairs(subjects: Sequence[BenchModel], config: Measure) -> Iterator[Pair]:
    for teacher, student in students(subjects):
        for name in config.runtime:
            who = next((s for s in (student, teacher) if name in s.refused), None)
            if who is None:
                continue
            for c in (c for c in _configurations(student, name, config) if c.mode != "server"):
                yield Pair(
                    metric="latency_ratio",
                    teacher=teacher.id,
                    student=student.id,
                    axes=c.axes(config.provider),
                    value=None,
                    status="unavailable",
                    reason=f"{who.card.name}: {who.refused[name].reason}",
                )


def _configurations(subject: BenchModel, name: str, config: Measure) -> tuple[Configuration, ...]:
    """Return how `subject` would have been timed by runtime `name`; nothing where it was not asked for."""
    if name not in config.runtime:
        return ()
    return configurations([replace(subject, refused={})], config.model_copy(update={"runtime": (name,)}))


def _without(subject: BenchModel, metric: str, why: Refusal, axes: Axes) -> Measurement:
    status: Status = "error" if why.fault else "unavailable"
    return missing(subject.id, metric, why.reason, status=status, hint=why.hint, axes=axes)
