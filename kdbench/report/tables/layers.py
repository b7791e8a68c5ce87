"""Where the time of a call goes: the layers that take most of it, and all layers by operator."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from kdbench import units
from kdbench.report.axes import format_axes
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.model_groups import ModelGroup, model_groups
from kdbench.report.table import DASH, Column, Row, Table, finished, words
from kdbench.results.records import Layer, RunRecord

LEADING = 8  # layers shown for each model; the others share a row
_COSTS = ("Time", "Share of time", "MACs / sample", "Share of MACs")
_LAYER = (
    "A layer is a node as onnxruntime ran it, after optimisation. A node fused from several layers has the name of the "
    "one with the most MACs, and the MACs of all of them. MACs count the multiply–accumulates of convolutions, linear "
    "layers and matrix products."
)
_OPERATOR = "Operators without MACs, such as reordering and quantization, take time that a MAC count does not predict."

T = TypeVar("T", int, float)


def where_the_time_goes(record: RunRecord) -> Table:
    """Return the layers of each model that take the most time, and the total of all others."""
    rows = [row for group in model_groups(record) for row in _leading_rows(group, layers_of(record, group))]
    profiled = dict.fromkeys(format_axes(layer.axes) for layer in record.layers)  # a fixed batch differs between files
    note = (
        f"From onnxruntime's profile at {', or '.join(profiled)}, a separate pass with slower calls than those of the "
        "latencies: shares are of the profiled time. Profiling costs each node one or two microseconds and counts "
        "whole microseconds only, so the shares of short nodes are rough."
    )
    columns = [*words("Model", "Layer", "Operator"), *map(Column, _COSTS)]
    return finished("Where the time goes", columns, rows, [note, _LAYER])


def time_by_operator(record: RunRecord) -> Table:
    """Return the time of each operator type in each model, all its nodes together, the slowest first."""
    columns = [*words("Model", "Operator"), *map(Column, ("Nodes", *_COSTS))]
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
    return finished("Time by operator", columns, rows, [_OPERATOR])


def layers_of(record: RunRecord, group: ModelGroup) -> list[Layer]:
    """Return the profiled layers of a group in the order in which they run."""
    return [layer for layer in record.layers if layer.model in group.ids]


def _leading_rows(group: ModelGroup, layers: Sequence[Layer]) -> list[Row]:
    ranked = sorted(layers, key=lambda layer: -(layer.time_ns or 0.0))
    leading, others = ranked[:LEADING], ranked[LEADING:]
    total = _sum(layer.macs for layer in layers)
    rows = [
        _row(group, (Text(layer.name, code=True), Text(layer.operator, code=True)), [layer], total) for layer in leading
    ]
    return [*rows, *([_row(group, (Text(f"{len(others)} others"), DASH), others, total)] if others else [])]


def _row(group: ModelGroup, names: tuple[Cell, Cell], layers: Sequence[Layer], total: int | None) -> Row:
    """Return the row of `layers` together; `total` is the model's MACs (None: unknown)."""
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
