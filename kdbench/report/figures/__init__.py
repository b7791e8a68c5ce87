"""A report's figures as SVG: the same record gives the same bytes with the same matplotlib."""

from collections.abc import Callable

from kdbench.report.figures.classes import class_accuracy
from kdbench.report.figures.curves import training_curves
from kdbench.report.figures.distribution import latency_distribution
from kdbench.report.figures.drawing import Drawing
from kdbench.report.figures.families import sweeps
from kdbench.report.figures.layers import layer_times
from kdbench.report.figures.scaling import latency_batch, latency_threads
from kdbench.report.figures.speedup import speedup
from kdbench.report.figures.throughput import throughput
from kdbench.report.figures.tradeoff import accuracy_energy, accuracy_latency, accuracy_size
from kdbench.results.records import RunRecord
from kdbench.results.samples import Samples

__all__ = ["Drawing", "draw"]

_Figure = Callable[[RunRecord, Samples], Drawing | None]


def _of_record(figure: Callable[[RunRecord], Drawing | None]) -> _Figure:
    return lambda record, _: figure(record)


_FIGURES: tuple[_Figure, ...] = (
    _of_record(accuracy_latency),
    _of_record(accuracy_size),
    _of_record(accuracy_energy),
    _of_record(speedup),
    latency_distribution,
    _of_record(latency_threads),
    _of_record(latency_batch),
    _of_record(throughput),
    _of_record(sweeps),
    _of_record(class_accuracy),
    _of_record(layer_times),
    _of_record(training_curves),
)


def draw(record: RunRecord, samples: Samples | None = None) -> list[Drawing]:
    """Return the figures that the record, and the raw samples beside it, have numbers for, in reading order."""
    return [drawing for figure in _FIGURES if (drawing := figure(record, samples or {})) is not None]
