"""A report's figures as SVG: the same record gives the same bytes with the same matplotlib."""

from collections.abc import Callable

from kdbench.records import RunRecord
from kdbench.report.figures.classes import class_accuracy
from kdbench.report.figures.curves import training_curves
from kdbench.report.figures.drawing import Drawing
from kdbench.report.figures.families import sweeps
from kdbench.report.figures.speedup import speedup
from kdbench.report.figures.throughput import throughput
from kdbench.report.figures.tradeoff import accuracy_latency

__all__ = ["Drawing", "draw"]

_FIGURES: tuple[Callable[[RunRecord], Drawing | None], ...] = (
    accuracy_latency,
    speedup,
    throughput,
    sweeps,
    class_accuracy,
    training_curves,
)


def draw(record: RunRecord) -> list[Drawing]:
    """Return the figures that the record has numbers for, in reading order."""
    return [drawing for figure in _FIGURES if (drawing := figure(record)) is not None]
