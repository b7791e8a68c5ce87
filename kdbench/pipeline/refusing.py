"""What the record says of models that failed the parity gate: every metric is there, with the reason for no number."""

from collections.abc import Iterator
from pathlib import Path

from kdbench.measure.harness import Protocol, Subject
from kdbench.measure.latency.configurations import configurations
from kdbench.measure.protocol import energy_metrics, outer_batches
from kdbench.metrics import METRICS, PAIR_METRICS
from kdbench.pipeline.exporting import Exported
from kdbench.records import Axes, Measurement, Pair, Status, missing

_OWN = {"parity_max_abs", "training_s", "training_j", "training_co2_g"}  # known without measuring
_OFFLINE = {"max_throughput_per_s", "throughput_ratio"}  # taken only where it was asked for
_MODES_WITHOUT = {"throughput_per_s": frozenset({"paced", "server"}), "latency_ratio": frozenset({"server"})}
_MEMORY = {"peak_memory_bytes", "model_memory_bytes", "device_memory_bytes"}


def refused_measurements(exports: list[Exported], protocol: Protocol) -> Iterator[Measurement]:
    """Yield every metric of every refused model, and of its students what cannot be known without it."""
    refused = {export.card.id: export.refused for export in exports if export.refused is not None}
    for export in exports:
        if export.refused is not None:
            status: Status = "unavailable" if export.is_finite else "invalid"
            for metric in METRICS.keys() - _OWN - _not_taken(protocol) - _fidelity(export):
                for axes in _axes(metric, export, protocol):
                    yield missing(export.card.id, metric, export.refused, status=status, axes=axes)
        elif reason := next((refused[parent] for parent in export.card.parents if parent in refused), None):
            for metric in ("agreement", "predictive_kl"):
                yield missing(export.card.id, metric, f"its teacher was not measured: {reason}")


def refused_pairs(exports: list[Exported], protocol: Protocol) -> Iterator[Pair]:
    """Yield every pair of a student and its teacher of which one was refused."""
    refused = {export.card.id: export.refused for export in exports if export.refused is not None}
    for export in exports:
        for teacher in export.card.parents:
            reason = refused.get(export.card.id) or refused.get(teacher)
            if reason is None:
                continue
            for metric in PAIR_METRICS.keys() - _not_taken(protocol):
                for axes in _axes(metric, export, protocol):
                    yield Pair(
                        metric=metric,
                        teacher=teacher,
                        student=export.card.id,
                        axes=dict(axes),
                        value=None,
                        status="unavailable",
                        reason=reason,
                    )


def _not_taken(protocol: Protocol) -> set[str]:
    """Return what the protocol takes of no model."""
    on_device = {"device_memory_bytes"} if protocol.provider == "cpu" else set()
    emitted = set() if protocol.country else {"co2_g"}
    return on_device | emitted | (set() if "offline" in protocol.mode else _OFFLINE)


def _fidelity(export: Exported) -> set[str]:
    return set() if export.card.parents else {"agreement", "predictive_kl"}


def _axes(metric: str, export: Exported, protocol: Protocol) -> list[Axes]:
    """Return the axes at which `metric` would have been taken; those that depend on no setting have none."""
    provider, threads = protocol.provider, protocol.threads[0]
    if metric in _OFFLINE:
        return [{"provider": provider, "threads": each, "mode": "offline"} for each in protocol.threads]
    subject = Subject(export.card, Path(export.card.file), export.facts)
    if metric in {*_MEMORY, *energy_metrics(protocol), "energy_ratio"}:
        batches = outer_batches(subject, protocol)
        return [{"provider": provider, "threads": threads, "batch": batch} for batch in batches]
    if not metric.startswith("latency_") and metric != "throughput_per_s":
        return [{}]
    without = _MODES_WITHOUT.get(metric, frozenset())
    return [c.axes(provider) for c in configurations([subject], protocol) if c.mode not in without]
