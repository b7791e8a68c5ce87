"""Tables of latency: percentiles, speed-ups, offline throughput, and the time of a call by layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from kdbench import units
from kdbench.report.axes import axes_columns, common_axes, configurations, format_axes, headlines, unique
from kdbench.report.cells import Cell, Number, Text, listed
from kdbench.report.model_groups import ModelGroup, model_groups, teacher_of
from kdbench.report.numbers import number
from kdbench.report.table import DASH, Column, Field, Row, Table, axes_table, column, finished, metric_field, words
from kdbench.results.records import Axes, Diagnostic, Layer, Measurement, RunRecord
from kdbench.results.records.index import once_per_record
from kdbench.results.runtimes import runtime_of

_TIMES = {**{f"latency_p{percent}_ns": f"p{percent}" for percent in (50, 90, 95, 99)}, "latency_mean_ns": "Mean"}
_THROUGHPUT = "throughput_per_s"
_OFFLINE = "max_throughput_per_s"
LEADING = 8  # layers shown for each model; the others share a row
_LAYER_COLUMNS = ("Time", "Share of time", "MACs / sample", "Share of MACs")
_LAYER_NOTE = (
    "A layer is a node as onnxruntime ran it, after optimisation. A node fused from several layers has the name of the "
    "one with the most MACs, and the MACs of all of them. MACs count the multiply–accumulates of convolutions, linear "
    "layers and matrix products."
)
_OPERATORS = "Operators without MACs, such as reordering and quantization, take time that a MAC count does not predict."

T = TypeVar("T", int, float)
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
        *(metric_field(record, metric, head=head, unit="") for metric, head in _TIMES.items()),
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
    compared = unique([pair.axes for pair in record.pair_index.having("latency_ratio") if pair.value is not None])
    measured = [axes for axes in configurations(record) if axes in compared]
    more = any(axes not in headlines(record) for axes in measured)
    students = [group for group in model_groups(record) if more and teacher_of(record, group) is not None]
    columns = axes_columns(measured)
    rows = [(axes, group) for axes in measured for group in students]
    at = format_axes(common_axes(measured, columns), ". All at ")
    notes = [f"Teacher time over student time, from adjacent blocks{at}."]
    fields = [metric_field(record, "latency_ratio")]
    return axes_table("Speed-up by configuration", rows, columns, fields, notes, name="Student")


def offline(record: RunRecord) -> Table:
    """Return each model's largest throughput, its batch, and its ratio to the teacher's."""
    measured = offline_axes(record)
    threads: dict[str, Callable[[Axes], str]] = {"Threads": lambda axes: str(axes.get("threads", "–"))}
    several = len(measured) > 1
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
    at = "" if several else format_axes(common_axes(measured, ["mode"]), "; all at ")
    note = (
        f"Samples (not calls) per second with back-to-back calls, at the batch with the highest throughput{at}. The "
        "ratio is student over teacher, each at its best batch, within the same sessions."
    )
    notes = [note, f"Batches tried: {str(record.protocol.get('offline', '1, 2, 4, …')).removeprefix('batches ')}."]
    return axes_table("Throughput (offline)", rows, threads if several else {}, fields, notes)


def by_batch(record: RunRecord, group: ModelGroup, axes: Axes) -> dict[int, Measurement]:
    """Return the throughputs of a group by batch, the smallest batch first."""
    rates = {
        batch: m
        for id_ in group.ids
        for m in record.measurement_index.of(id_, _THROUGHPUT)
        if m.value is not None
        if axes.items() <= m.axes.items() and isinstance(batch := m.axes.get("batch"), int)
    }
    return dict(sorted(rates.items()))


def offline_axes(record: RunRecord) -> list[Axes]:
    """Return the axes at which batches were swept, each once."""
    return unique([m.axes for m in record.measurement_index.having(_OFFLINE) if m.axes])


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
            refusals |= {(runtime, group.label): same.pop() for runtime, same in reasons.items() if len(same) == 1}
    return refusals


def _refusal_notes(refusals: _Refusals) -> Iterator[str]:
    by_reason: dict[tuple[str, tuple[str, str]], list[str]] = {}
    for (runtime, label), reason_and_hint in refusals.items():
        by_reason.setdefault((runtime, reason_and_hint), []).append(label)
    for (runtime, reason_and_hint), labels in by_reason.items():
        yield f"Not measured with {runtime}: {listed(labels)} ({'; '.join(filter(None, reason_and_hint))})."


def _largest(record: RunRecord, group: ModelGroup, axes: Axes) -> Number:
    """Return the largest throughput, with the record's warning if larger batches were not tried."""
    cell = number(record, group, _OFFLINE, axes)
    shortened = _shortened(record)
    warnings = [warning for id_ in group.ids for warning in shortened.get(id_, ())]
    if not warnings or cell.value is None or cell.reason:
        return cell
    return replace(cell, reason="; ".join(w.message for w in warnings), hint=warnings[0].remedy)


@once_per_record
def _shortened(record: RunRecord) -> Mapping[str | None, Sequence[Diagnostic]]:
    """Return the warnings that larger batches were not tried, by model."""
    by_model: dict[str | None, list[Diagnostic]] = {}
    for warning in record.warnings:
        if warning.code == "offline_shortened":
            by_model.setdefault(warning.model, []).append(warning)
    return by_model


def _best_batch(rates: Mapping[int, Measurement]) -> str:
    return str(max(rates, key=lambda batch: rates[batch].value or 0.0))


def _batch_range(rates: Mapping[int, Measurement]) -> str:
    return f"{min(rates)} to {max(rates)}" if len(rates) > 1 else f"{min(rates)} only"


def time_by_layer(record: RunRecord) -> Table:
    """Return the layers of each model that take the most time, and the total of all others."""
    rows = [row for group in model_groups(record) for row in _leading_rows(group, layers_of(record, group))]
    profiled = dict.fromkeys(format_axes(layer.axes) for layer in record.layers)  # a fixed batch differs between files
    note = (
        f"From onnxruntime's profile at {', or '.join(profiled)}, a separate pass with slower calls than those of the "
        "latencies: shares are of the profiled time. Profiling costs each node one or two microseconds and counts "
        "whole microseconds only, so the shares of short nodes are rough."
    )
    columns = [*words("Model", "Layer", "Operator"), *map(Column, _LAYER_COLUMNS)]
    return finished("Where the time goes", columns, rows, [note, _LAYER_NOTE])


def time_by_operator(record: RunRecord) -> Table:
    """Return the time of each operator type in each model, all its nodes together, the slowest first."""
    columns = [*words("Model", "Operator"), *map(Column, ("Nodes", *_LAYER_COLUMNS))]
    rows = []
    for group in model_groups(record):
        layers = layers_of(record, group)
        operators: dict[str, list[Layer]] = {}
        for layer in layers:
            operators.setdefault(layer.operator, []).append(layer)
        ranked = sorted(operators.items(), key=lambda operator: -sum(layer.time_ns or 0.0 for layer in operator[1]))
        total = _sum(layer.macs for layer in layers)
        rows += [
            _row(group, (Text(operator, code=True), Text(f"{len(nodes)}")), nodes, total) for operator, nodes in ranked
        ]
    return finished("Time by operator", columns, rows, [_OPERATORS])


def layers_of(record: RunRecord, group: ModelGroup) -> list[Layer]:
    """Return the profiled layers of a group in the order in which they run."""
    by_model = _layers_by_model(record)
    return [layer for id_ in group.ids for layer in by_model.get(id_, ())]


@once_per_record
def _layers_by_model(record: RunRecord) -> Mapping[str, Sequence[Layer]]:
    by_model: dict[str, list[Layer]] = {}
    for layer in record.layers:
        by_model.setdefault(layer.model, []).append(layer)
    return by_model


def _leading_rows(group: ModelGroup, layers: Sequence[Layer]) -> list[Row]:
    ranked = sorted(layers, key=lambda layer: -(layer.time_ns or 0.0))
    leading, others = ranked[:LEADING], ranked[LEADING:]
    total = _sum(layer.macs for layer in layers)
    rows = [
        _row(group, (Text(layer.name, code=True), Text(layer.operator, code=True)), [layer], total) for layer in leading
    ]
    return [*rows, *([_row(group, (Text(f"{len(others)} others"), DASH), others, total)] if others else [])]


def _row(group: ModelGroup, names: tuple[Cell, Cell], layers: Sequence[Layer], total: int | None) -> Row:
    """Return the row of the sums over `layers`; `total` is the model's MACs (None: unknown)."""
    macs = _sum(layer.macs for layer in layers)
    reason = next((layer.reason for layer in layers if layer.macs is None), None) or "the total is not known"
    timed = all(layer.time_ns is not None and layer.time_share is not None for layer in layers)
    share = macs / total if macs is not None and total else None
    return Row(
        (
            Text(group.label, code=True),
            *names,
            Number(units.time, _sum(layer.time_ns for layer in layers), reason="" if timed else "not measured"),
            Number(units.share, _sum(layer.time_share for layer in layers), reason="" if timed else "not measured"),
            Number(units.count, macs, reason="" if macs is not None else reason),
            Number(units.share, share, reason="" if share is not None else reason),
        )
    )


def _sum(values: Iterable[T | None]) -> T | None:
    """Return the sum, None if any value is missing."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    return sum(known) if len(known) == len(listed) else None
