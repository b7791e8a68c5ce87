"""Where the time of a call goes: the layers that take most of it, and all of them for other programs."""

import csv
import io
from collections.abc import Sequence

from kdbench import units
from kdbench.report.axes import in_words
from kdbench.report.cells import Cell, Column, Number, Row, Table, Text, finished
from kdbench.report.subjects import ModelGroup, subjects
from kdbench.results.records import Layer, RunRecord

LEADING = 8  # layers shown of each model; the rest are one row
_FIELDS = ("run", "model", "position", "layer", "operator", "macs", "time_ns", "time_share", "reason")


def where_the_time_goes(record: RunRecord) -> Table:
    """Return the layers of each model that take the most time, and what all the others take together."""
    columns = [
        *(Column(head, numeric=False) for head in ("Model", "Layer", "Operator")),
        *(Column(head) for head in ("Time", "Share of time", "MACs / sample", "Share of MACs")),
    ]
    rows = [row for subject in subjects(record) for row in _rows(subject, _of(record, subject))]
    taken = dict.fromkeys(in_words(layer.axes) for layer in record.layers)  # a file's fixed batch is its own
    notes = [
        (
            f"From onnxruntime's profile at {', or '.join(taken)}, a pass of its own whose calls are slower than those "
            "that latencies are of: the shares are of the profiled time. Being timed costs a node a microsecond or "
            "two, of which the profile counts whole ones only, so the shares of short nodes say little."
        ),
        (
            "A layer is a node as onnxruntime ran it, after its optimisation; of several layers that it fused, it has "
            "the name of the one with the most MACs, and the MACs of all: of convolutions, linear layers and matrix "
            "products only, one multiply–accumulate counting one."
        ),
    ]
    return finished("Where the time goes", columns, rows, notes)


def time_by_operator(record: RunRecord) -> Table:
    """Return what each kind of operator takes in each model, all its nodes together, the most first."""
    columns = [
        *(Column(head, numeric=False) for head in ("Model", "Operator")),
        *(Column(head) for head in ("Nodes", "Time", "Share of time", "MACs / sample", "Share of MACs")),
    ]
    rows = []
    for subject in subjects(record):
        layers = _of(record, subject)
        kinds: dict[str, list[Layer]] = {}
        for layer in layers:
            kinds.setdefault(layer.operator, []).append(layer)
        ranked = sorted(kinds.items(), key=lambda kind: -sum(layer.time_ns or 0.0 for layer in kind[1]))
        total = _sum_macs(layers)
        rows += [
            _row(subject, (Text(operator, code=True), Text(f"{len(alike)}")), alike, total)
            for operator, alike in ranked
        ]
    note = "Operators without MACs, such as reordering and quantizing, cost time that no count of MACs foretells."
    return finished("Time by operator", columns, rows, [note])


def layers_csv(record: RunRecord) -> str:
    """Return every layer as CSV, one row each in the order in which they run; an absent value is an empty field.

    Columns: run, model, position (from 1), layer, operator, macs (of one sample), time_ns (of one call), time_share,
    reason, and one per axis.
    """
    axes = list(dict.fromkeys(axis for layer in record.layers for axis in layer.axes))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=[*_FIELDS, *axes], lineterminator="\n")
    writer.writeheader()
    positions: dict[str, int] = {}
    for layer in record.layers:
        positions[layer.model] = positions.get(layer.model, 0) + 1
        known = layer.model_dump(exclude={"name", "axes"})
        first = {"run": record.name, "position": positions[layer.model], "layer": layer.name}
        writer.writerow({**first, **known, **layer.axes})
    return stream.getvalue()


def _of(record: RunRecord, subject: ModelGroup) -> list[Layer]:
    return [layer for layer in record.layers if layer.model in subject.ids]


def _rows(subject: ModelGroup, layers: Sequence[Layer]) -> list[Row]:
    ranked = sorted(layers, key=lambda layer: -(layer.time_ns or 0.0))
    leading, others = ranked[:LEADING], ranked[LEADING:]
    total = _sum_macs(layers)
    rows = [
        _row(subject, (Text(layer.name, code=True), Text(layer.operator, code=True)), [layer], total)
        for layer in leading
    ]
    if others:
        rows.append(_row(subject, (Text(f"{len(others)} others"), Text("–")), others, total))
    return rows


def _row(subject: ModelGroup, names: tuple[Cell, Cell], layers: Sequence[Layer], total: int | None) -> Row:
    """Return the row of `layers` together, called by `names`, of a model with `total` MACs (None: not known)."""
    macs = _sum_macs(layers)
    reason = next((layer.reason for layer in layers if layer.macs is None), None) or "the whole is not known"
    timed = all(layer.time_ns is not None and layer.time_share is not None for layer in layers)
    share = macs / total if macs is not None and total else None
    return Row(
        (
            Text(subject.label, code=True),
            *names,
            Number(units.time, _sum([layer.time_ns for layer in layers]), reason="" if timed else "not measured"),
            Number(units.share, _sum([layer.time_share for layer in layers]), reason="" if timed else "not measured"),
            Number(units.count, macs, reason="" if macs is not None else reason),
            Number(units.share, share, reason="" if share is not None else reason),
        )
    )


def _sum(values: Sequence[float | None]) -> float | None:
    """Return the sum, None if any value is missing."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _sum_macs(layers: Sequence[Layer]) -> int | None:
    known = [layer.macs for layer in layers if layer.macs is not None]
    return sum(known) if len(known) == len(layers) else None
