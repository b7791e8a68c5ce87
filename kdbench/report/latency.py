"""How long calls take: percentiles, mean and throughput of every model, in every configuration."""

from kdbench.metrics import METRICS
from kdbench.records import Axes, RunRecord
from kdbench.report.axes import configurations, in_words, swept
from kdbench.report.cells import Cell, Column, Number, Row, Table, Text, finished
from kdbench.report.columns import column
from kdbench.report.subjects import Subject, number, subjects

_TIMES = ("latency_p50_ns", "latency_p90_ns", "latency_p95_ns", "latency_p99_ns", "latency_mean_ns")
_ALL = (*_TIMES, "throughput_per_s")
_NONE = Text("–")


def latency(record: RunRecord) -> Table:
    """Return latency percentiles and throughput of every model at every configuration that was measured.

    A runtime that could not run a model has a note instead of rows of reasons.
    """
    taken = configurations(record)
    shown = swept(taken)
    columns = [
        Column("Model", numeric=False),
        *(Column(head, numeric=head in {"Threads", "Batch"}) for head in shown),
        *(Column(_head(metric), False) for metric in _TIMES),
        column("throughput_per_s"),
    ]
    rows: list[Row] = []
    refused: dict[tuple[str, str], list[str]] = {}
    for axes in taken:
        for subject in subjects(record):
            if not any(record.find(id_, metric, **axes) for id_ in subject.ids for metric in _ALL):
                continue
            cells = _cells(record, subject, axes)
            if reason := _refusal(axes, cells):
                labels = refused.setdefault((str(axes["runtime"]), reason), [])
                labels += [subject.label] if subject.label not in labels else []
                continue
            words = (Text(write(axes)) for write in shown.values())
            group = None if subject.role == "teacher" else tuple(sorted(axes.items()))
            rows.append(Row((Text(subject.label, code=True), *words, *cells), group=group))
    constant = {key: axes[key] for axes in taken[:1] for key in axes if key.capitalize() not in shown}
    waits = any(axes.get("mode") == "server" for axes in taken)
    notes = [
        (
            f"Time of one call{', from its arrival on where calls arrive at random' if waits else ''}; a percentile is "
            "the order statistic, not an interpolation, and is given only where there are enough samples for it. "
            f"Throughput is in samples, not calls{in_words(constant, '. All at ')}."
        ),
        *(_sentence(runtime, reason, labels) for (runtime, reason), labels in refused.items()),
    ]
    return finished("Latency", columns, rows, notes)


def _head(metric: str) -> str:
    return METRICS[metric].title.removeprefix("Latency ").capitalize().replace("P", "p")


def _cells(record: RunRecord, subject: Subject, axes: Axes) -> list[Cell]:
    times = [number(record, subject, metric, axes) for metric in _TIMES]
    return [*times, number(record, subject, "throughput_per_s", axes) if "mode" not in axes else _NONE]


def _refusal(axes: Axes, cells: list[Cell]) -> str | None:
    """Return why a runtime has no number at all of a model; None if it has one, or has not for different reasons."""
    numbers = [cell for cell in cells if isinstance(cell, Number)]
    reasons = {cell.reason for cell in numbers}
    if "runtime" not in axes or len(reasons) > 1 or any(cell.value is not None for cell in numbers):
        return None
    return reasons.pop()


def _sentence(runtime: str, reason: str, labels: list[str]) -> str:
    return f"Not measured with {runtime}: {', '.join(f'`{label}`' for label in labels)} ({reason})."
