"""The cost of a model other than time per call: storage, arithmetic, start-up and memory."""

from functools import partial

from kdbench.report.cells import Cell
from kdbench.report.model_groups import ModelGroup, has_metric, model_groups, teacher_of
from kdbench.report.numbers import number, number_at_batch
from kdbench.report.table import DASH, Column, Field, Table, axes_table, column, metric_field, model_table
from kdbench.results.metrics import METRICS, metrics_in
from kdbench.results.records import Axes, Measurement, RunRecord
from kdbench.results.runtimes import runtime_of

_COST = ("parameters", "weight_bytes", "size_bytes", "macs")
_HEADS = {"size_bytes": "File", "macs": "MACs / sample"}
# Columns of metrics that only some records have, with their notes.
_OPTIONAL = {
    "compressed_bytes": "Compressed: the file's size as a package or a download holds it (DEFLATE).",
    "parity_max_abs": "ONNX parity: largest absolute difference between the outputs (of a classifier, the logits) of "
    "the exported file and of the trained model.",
}
_START = ("load_ns", "first_run_ns", "steady_run_ns")
_MEMORY = metrics_in("memory")
_MEMORY_NOTE = (
    "Peak memory: the largest resident size of a process that loads and runs only this model, interpreter, runtime and "
    "inputs included. Model memory: the model's part of it. The ratio compares peak memory, teacher over student, at "
    "the smallest batch."
)


def cost(record: RunRecord) -> Table:
    """Return the storage and the arithmetic that each model needs."""
    optional = [metric for metric in _OPTIONAL if has_metric(record, metric)]
    fields = [
        metric_field(record, metric, head=_HEADS.get(metric, METRICS[metric].title), higher_is_better=None, unit="")
        for metric in (*_COST, *optional)
    ]
    return model_table("Cost", model_groups(record), fields, [_OPTIONAL[metric] for metric in optional])


def start_and_memory(record: RunRecord) -> Table:
    """Return how long each model takes to start, and how much memory it takes, by runtime."""
    start = [metric for metric in _START if has_metric(record, metric)]
    memory = [(metric, batch) for metric in _MEMORY for batch in _batches(record, metric)]
    by_runtime = _by_runtime(record)

    def cell(metric: str, batch: int | None, group: ModelGroup, axes: Axes) -> Cell:
        view = by_runtime[runtime_of(axes)]
        if not has_metric(view, metric):
            return DASH
        if batch is None:
            return number(view, group, metric)
        return number_at_batch(view, group, metric, {"batch": batch})

    def ratio(group: ModelGroup, axes: Axes) -> Cell:
        view = by_runtime[runtime_of(axes)]
        compared = has_metric(view, *_MEMORY) and teacher_of(record, group) is not None
        return number(view, group, "memory_ratio") if compared else DASH

    def ranking(group: ModelGroup, _: Axes) -> str | None:
        return None if group.role == "teacher" else "students"  # over all runtimes

    fields = [
        *(Field(Column(METRICS[metric].title), partial(cell, metric, None)) for metric in start),
        *(Field(Column(f"{METRICS[m].title}, batch {batch}"), partial(cell, m, batch)) for m, batch in memory),
        *([Field(column("memory_ratio"), ratio)] if any(p.metric == "memory_ratio" for p in record.pairs) else []),
    ]
    rows: list[tuple[Axes, ModelGroup]] = [
        ({"runtime": runtime}, group) for runtime in by_runtime for group in model_groups(record)
    ]
    columns = {"Runtime": runtime_of} if len(by_runtime) > 1 else {}
    notes = [*([_start_note(record)] if start else []), *([_MEMORY_NOTE] if memory else [])]
    return axes_table("Start-up and memory", rows, columns, fields, notes, ranking=ranking)


def _by_runtime(record: RunRecord) -> dict[str, RunRecord]:
    """Return the record restricted to the measurements of each runtime, by runtime."""
    by_runtime: dict[str, list[Measurement]] = {}
    for m in record.measurements:
        if m.metric in {*_START, *_MEMORY}:
            by_runtime.setdefault(runtime_of(m.axes), []).append(m)
    return {name: record.model_copy(update={"measurements": tuple(ms)}) for name, ms in sorted(by_runtime.items())}


def _batches(record: RunRecord, metric: str) -> list[int]:
    """Return the batches at which memory was measured for models without a fixed batch; 1 if there are none."""
    if not has_metric(record, metric):
        return []
    batches = {
        m.axes.get("batch")
        for m in record.measurements
        if m.metric == metric and record.cards[m.model].fixed_batch is None
    }
    return sorted(batch for batch in batches if isinstance(batch, int)) or [1]


def _start_note(record: RunRecord) -> str:
    imported = record.protocol.get("runtime_import_ns")
    note = (
        "Load, first and steady run: medians over fresh processes; all three come from the same process and kind of "
        "call. The files were in the page cache; loading from disk takes longer."
    )
    if not isinstance(imported, int | float):
        return note
    return f"{note} Importing the runtime takes another {METRICS['load_ns'].text(imported)} before that, for any model."
