"""What the record says of models that failed the parity gate: every metric is there, with the reason for no number."""

from collections.abc import Iterator
from pathlib import Path

from kdbench.evaluate.plan import TRAIN
from kdbench.measure.bench_model import BenchModel, energy_metrics, outer_batches
from kdbench.measure.harness import Analyses
from kdbench.measure.latency.configurations import configurations
from kdbench.recipe.measure import Measure
from kdbench.results.metrics import METRICS, PAIR_METRICS, metrics_in
from kdbench.results.records import Axes, Measurement, Pair, Status, missing
from kdbench.workflows.stages.export import Exported

_OWN = {*metrics_in("parity", "training")}  # known without measuring
_OF_TEACHER, _NOISE, _MISMATCHES = metrics_in("fidelity", "risk"), metrics_in("label noise"), metrics_in("mismatches")
_OFFLINE = {"max_throughput_per_s", "throughput_ratio"}  # taken only where it was asked for
_MODES_WITHOUT = {"throughput_per_s": frozenset({"paced", "server"}), "latency_ratio": frozenset({"server"})}
_ON_BOTH_PARTS = {*metrics_in("accuracy", "calibration", "fidelity", "mismatches")}  # the test set and training images


def refused_measurements(
    exports: list[Exported], config: Measure, analyses: Analyses | None = None
) -> Iterator[Measurement]:
    """Yield every metric of every refused model, and of others what cannot be known without it."""
    analyses = analyses or Analyses()
    refused = {export.card.id: export.refused for export in exports if export.refused is not None}
    for export in exports:
        id_ = export.card.id
        left_out = _OWN | _not_taken(config) | _not_looked_into(export, analyses)
        if export.refused is not None:
            status: Status = "unavailable" if export.is_finite else "invalid"
            for metric in (each for each in METRICS if each not in left_out):
                for axes in _axes(metric, export, config, analyses):
                    yield missing(id_, metric, export.refused, status=status, axes=axes)
            continue
        teacher = next((refused[parent] for parent in export.card.parents if parent in refused), None)
        other = refused.get(analyses.independent.get(id_, ""))
        reasons = dict.fromkeys(_MISMATCHES, f"its independent student was not measured: {other}") if other else {}
        if teacher:
            reasons |= dict.fromkeys((*_OF_TEACHER, *_MISMATCHES), f"its teacher was not measured: {teacher}")
        for metric in (each for each in reasons if each not in left_out):
            for axes in _axes(metric, export, config, analyses):
                yield missing(id_, metric, reasons[metric], axes=axes)


def refused_pairs(exports: list[Exported], config: Measure) -> Iterator[Pair]:
    """Yield every pair of a student and its teacher of which one was refused."""
    refused = {export.card.id: export.refused for export in exports if export.refused is not None}
    for export in exports:
        for teacher in export.card.parents:
            reason = refused.get(export.card.id) or refused.get(teacher)
            if reason is None:
                continue
            for metric in (each for each in PAIR_METRICS if each not in _not_taken(config)):
                for axes in _axes(metric, export, config):
                    yield Pair(
                        metric=metric,
                        teacher=teacher,
                        student=export.card.id,
                        axes=dict(axes),
                        value=None,
                        status="unavailable",
                        reason=reason,
                    )


def _not_taken(config: Measure) -> set[str]:
    """Return what the protocol takes of no model."""
    on_device = {"device_memory_bytes"} if config.provider == "cpu" else set()
    emitted = set() if config.country else {"co2_g"}
    return on_device | emitted | (set() if "offline" in config.mode else _OFFLINE)


def _not_looked_into(export: Exported, analyses: Analyses) -> set[str]:
    """Return what is not asked of this model: it has no teacher, no independent student, no wrong labels."""
    id_ = export.card.id
    images = analyses.training.get(id_)
    fidelity = set() if export.card.parents else {*_OF_TEACHER}
    noise = set() if images is not None and images.flipped.any() else {*_NOISE}
    return fidelity | noise | (set() if id_ in analyses.independent else {*_MISMATCHES})


def _axes(metric: str, export: Exported, config: Measure, analyses: Analyses | None = None) -> list[Axes]:
    """Return the axes at which `metric` would have been taken; those that depend on no setting have none."""
    if metric in _ON_BOTH_PARTS and analyses is not None:
        images = analyses.training.get(export.card.id)
        beside: Axes = {"beside": analyses.independent[export.card.id]} if metric in _MISMATCHES else {}
        return [beside, *([{**TRAIN, **beside}] if images is not None and images.drawn.any() else [])]
    provider, threads = config.provider, config.threads[0]
    if metric in _OFFLINE:
        return [{"provider": provider, "threads": each, "mode": "offline"} for each in config.threads]
    subject = BenchModel(export.card, Path(export.card.file), export.facts)
    if metric in {*metrics_in("memory"), *energy_metrics(config), "energy_ratio"}:
        batches = outer_batches(subject, config)
        return [{"provider": provider, "threads": threads, "batch": batch} for batch in batches]
    if (METRICS.get(metric) or PAIR_METRICS[metric]).group not in {"latency", "throughput"}:
        return [{}]
    without = _MODES_WITHOUT.get(metric, frozenset())
    return [c.axes(provider) for c in configurations([subject], config) if c.mode not in without]
