"""How long calls take: percentiles and throughput, speed-ups at every configuration, throughput offline."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from kdbench.report.axes import (
    axes_columns,
    batched_axes,
    common_axes,
    configurations,
    format_axes,
    headline,
    runtime_of,
    unique_axes,
)
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.model_groups import ModelGroup, model_groups, number, teacher_of
from kdbench.report.table import DASH, Column, Field, Table, axes_table, column, metric_field
from kdbench.results.metrics import METRICS
from kdbench.results.records import Axes, Measurement, RunRecord

_TIMES = ("latency_p50_ns", "latency_p90_ns", "latency_p95_ns", "latency_p99_ns", "latency_mean_ns")
_THROUGHPUT = "throughput_per_s"
_OFFLINE = "max_throughput_per_s"

_Refusals = Mapping[tuple[str, str], tuple[str, str]]
"""Reason and hint why a runtime has no number of a model, by the names of both."""


def latency(record: RunRecord) -> Table:
    """Return latency percentiles and throughput of every model in every configuration.

    A runtime that could not run a model that others ran has a note instead of rows of reasons.
    """
    measured = configurations(record)
    refusals = _refusals(record, measured)
    columns = axes_columns(measured)
    rows = [
        (axes, group)
        for axes in measured
        for group in model_groups(record)
        if _is_measured(record, group, axes) and (runtime_of(axes), group.label) not in refusals
    ]
    fields = [
        *(metric_field(record, metric, head=_head(metric), unit="") for metric in _TIMES),
        Field(column(_THROUGHPUT), partial(_throughput, record)),
    ]
    waiting = any(axes.get("mode") == "server" for axes in measured)
    note = (
        f"Time of one call{', including the wait where calls arrive at random' if waiting else ''}. Percentiles are "
        "order statistics, not interpolated, and need a minimum number of samples. Throughput is in samples, not calls"
        f"{format_axes(common_axes(measured, columns), '. All at ')}."
    )
    return axes_table("Latency", rows, columns, fields, [note, *_refusal_notes(refusals)])


def speedups(record: RunRecord) -> Table:
    """Return each student's speed-up at every configuration, if there are more than the table of ratios shows."""
    compared = [pair.axes for pair in record.pairs if pair.metric == "latency_ratio" and pair.value is not None]
    measured = [axes for axes in configurations(record) if axes in compared]
    more = any(axes not in (headline(record), batched_axes(record)) for axes in measured)
    students = [group for group in model_groups(record) if more and teacher_of(record, group) is not None]
    columns = axes_columns(measured)
    rows = [(axes, group) for axes in measured for group in students]
    note = (
        "Teacher time over student time, from adjacent blocks"
        f"{format_axes(common_axes(measured, columns), '. All at ')}."
    )
    fields = [metric_field(record, "latency_ratio")]
    return axes_table("Speed-up by configuration", rows, columns, fields, [note], name="Student")


def offline(record: RunRecord) -> Table:
    """Return each model's largest throughput, its batch, and its ratio to the teacher's."""
    measured = offline_axes(record)
    several = len(measured) > 1
    columns: dict[str, Callable[[Axes], str]] = (
        {"Threads": lambda axes: str(axes.get("threads", "–"))} if several else {}
    )
    rows = [
        (axes, group)
        for axes in measured
        for group in model_groups(record)
        if any(record.find(id_, _OFFLINE, **axes) for id_ in group.ids)
    ]

    def from_batches(write: Callable[[Mapping[int, Measurement]], str]) -> Callable[[ModelGroup, Axes], Cell]:
        return lambda group, axes: Text(write(rates)) if (rates := by_batch(record, group, axes)) else DASH

    def at_batch_1(group: ModelGroup, axes: Axes) -> Cell:
        swept = 1 in by_batch(record, group, axes)
        return number(record, group, _THROUGHPUT, {**axes, "batch": 1}) if swept else DASH

    def ratio(group: ModelGroup, axes: Axes) -> Cell:
        return DASH if teacher_of(record, group) is None else number(record, group, "throughput_ratio", axes)

    fields = [
        Field(column(_OFFLINE), partial(_largest, record)),
        Field(Column("At batch"), from_batches(_best_batch)),
        Field(Column("Batches tried"), from_batches(_batch_range)),
        Field(Column("At batch 1", higher_is_better=True), at_batch_1),
        Field(column("throughput_ratio"), ratio),
    ]
    common = {key: value for axes in measured[:1] for key, value in axes.items() if key != "mode" and not several}
    notes = [
        (
            "Samples (not calls) per second with back-to-back calls, at the batch with the highest throughput"
            f"{format_axes(common, '; all at ')}. The ratio is student over teacher, each at its best batch, within "
            "the same sessions."
        ),
        f"Batches tried: {str(record.protocol.get('offline', '1, 2, 4, …')).removeprefix('batches ')}.",
    ]
    return axes_table("Throughput (offline)", rows, columns, fields, notes)


def by_batch(record: RunRecord, group: ModelGroup, axes: Axes) -> dict[int, Measurement]:
    """Return the throughputs of a group by batch, the smallest batch first."""
    measurements = [
        m
        for m in record.measurements
        if m.model in group.ids and m.metric == _THROUGHPUT and m.value is not None
        if axes.items() <= m.axes.items()
    ]
    return {batch: m for m in sorted(measurements, key=_batch) if (batch := _batch(m))}


def offline_axes(record: RunRecord) -> list[Axes]:
    """Return the axes at which batches were swept, each once."""
    return unique_axes([m.axes for m in record.measurements if m.metric == _OFFLINE and m.axes])


def _head(metric: str) -> str:
    return METRICS[metric].title.removeprefix("Latency ").capitalize().replace("P", "p")


def _throughput(record: RunRecord, group: ModelGroup, axes: Axes) -> Cell:
    return number(record, group, _THROUGHPUT, axes) if "mode" not in axes else DASH


def _is_measured(record: RunRecord, group: ModelGroup, axes: Axes) -> bool:
    return any(record.find(id_, metric, **axes) for id_ in group.ids for metric in (*_TIMES, _THROUGHPUT))


def _refusals(record: RunRecord, measured: Sequence[Axes]) -> _Refusals:
    """Return why runtimes have no number of a model that another runtime measured, if there is a single reason."""
    refusals: dict[tuple[str, str], tuple[str, str]] = {}
    for group in model_groups(record):
        cells: dict[str, list[Number]] = {}
        for axes in measured:
            if _is_measured(record, group, axes):
                metrics = (*_TIMES, *([_THROUGHPUT] if "mode" not in axes else []))
                cells.setdefault(runtime_of(axes), []).extend(number(record, group, m, axes) for m in metrics)
        empty = {runtime: missing for runtime, missing in cells.items() if all(c.value is None for c in missing)}
        if len(empty) < len(cells):
            reasons = {runtime: {(c.reason, c.hint) for c in missing} for runtime, missing in empty.items()}
            refusals |= {(runtime, group.label): why.pop() for runtime, why in reasons.items() if len(why) == 1}
    return refusals


def _refusal_notes(refusals: _Refusals) -> Iterator[str]:
    for runtime, why in dict.fromkeys((runtime, why) for (runtime, _), why in refusals.items()):
        labels = [f"`{label}`" for (name, label), other in refusals.items() if (name, other) == (runtime, why)]
        yield f"Not measured with {runtime}: {', '.join(labels)} ({'; '.join(filter(None, why))})."


def _largest(record: RunRecord, group: ModelGroup, axes: Axes) -> Number:
    """Return the largest throughput, with the record's warning if larger batches were not tried."""
    cell = number(record, group, _OFFLINE, axes)
    warnings = [w for w in record.warnings if w.code == "offline_shortened" and w.model in group.ids]
    if not warnings or cell.value is None or cell.reason:
        return cell
    return replace(cell, reason="; ".join(w.message for w in warnings), hint=warnings[0].remedy)


def _best_batch(rates: Mapping[int, Measurement]) -> str:
    return str(max(rates, key=lambda batch: rates[batch].value or 0.0))


def _batch_range(rates: Mapping[int, Measurement]) -> str:
    return f"{min(rates)} to {max(rates)}" if len(rates) > 1 else f"{min(rates)} only"


def _batch(measurement: Measurement) -> int:
    batch = measurement.axes.get("batch", 0)
    return batch if isinstance(batch, int) else 0
