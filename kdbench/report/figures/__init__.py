"""A report's figures as SVG, each a function from a record to a `Drawing`; `FIGURES` lists them in reading order.

A new figure is one function and one entry in `FIGURES`. The same record gives the same bytes with the same matplotlib.
It imports `tables` and what these import; `styles`, `text` and `render` import it.
"""

from collections.abc import Callable

from kdbench.report.figures.accuracy import class_accuracy, sweep_accuracy, training_curves
from kdbench.report.figures.drawing import Drawing
from kdbench.report.figures.effects import axis_effects
from kdbench.report.figures.latency import latency_distribution, layer_times, speedup
from kdbench.report.figures.scaling import latency_batch, latency_threads, throughput
from kdbench.report.figures.sustained import sustained_load
from kdbench.report.figures.tradeoff import accuracy_energy, accuracy_latency, accuracy_size
from kdbench.results.records import RunRecord
from kdbench.results.records.devices import of_host
from kdbench.results.samples import Samples

__all__ = ["FIGURES", "Drawing", "draw"]

_Figure = Callable[[RunRecord, Samples], Drawing | None]


def _of_host(figure: Callable[[RunRecord], Drawing | None]) -> _Figure:
    return lambda record, _: figure(of_host(record))


FIGURES: dict[str, _Figure] = {
    "accuracy_latency": _of_host(accuracy_latency),
    "accuracy_size": _of_host(accuracy_size),
    "accuracy_energy": _of_host(accuracy_energy),
    "speedup": _of_host(speedup),
    "latency_distribution": lambda record, samples: latency_distribution(of_host(record), samples),
    "latency_threads": _of_host(latency_threads),
    "latency_batch": _of_host(latency_batch),
    "throughput": _of_host(throughput),
    "sweeps": _of_host(sweep_accuracy),
    "axis_effects": _of_host(axis_effects),
    "class_accuracy": _of_host(class_accuracy),
    "layer_times": _of_host(layer_times),
    "training_curves": _of_host(training_curves),
    "sustained_load": lambda record, _: sustained_load(record),
}
"""By name: all but the last one show what the host measured."""


def draw(record: RunRecord, samples: Samples | None = None) -> list[Drawing]:
    """Return the figures that the record and its raw samples have numbers for, in reading order."""
    return [drawing for figure in FIGURES.values() if (drawing := figure(record, samples or {})) is not None]
