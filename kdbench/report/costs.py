"""What a model costs beside time per call: to store and compute, and to get going."""

from kdbench.report.cells import Cell, Column, Number, Table, Text, finished
from kdbench.report.columns import column, number_at, row, taken
from kdbench.report.subjects import ModelGroup, number, pair_number, subjects, teacher_of
from kdbench.results.metrics import METRICS, metrics_in
from kdbench.results.records import Measurement, RunRecord

_START = ("load_ns", "first_run_ns", "steady_run_ns")
_MEMORY = metrics_in("memory")


def cost(record: RunRecord) -> Table:
    """Return what each model costs to store and to compute."""
    always = ("parameters", "weight_bytes", "size_bytes", "macs")
    metrics = (*always, *(["parity_max_abs"] if taken(record, ("parity_max_abs",)) else []))
    heads = {"size_bytes": "File", "macs": "MACs / sample"}
    columns = [
        Column("Model", numeric=False),
        *(Column(heads.get(metric, METRICS[metric].title)) for metric in metrics),
    ]
    rows = [row(subject, *(number(record, subject, metric) for metric in metrics)) for subject in subjects(record)]
    parity = ["ONNX parity: largest difference between a logit of the exported file and of the trained model."]
    return finished("Cost", columns, rows, parity if "parity_max_abs" in metrics else [])


def start_and_memory(record: RunRecord) -> Table:
    """Return how long each model takes until it runs as fast as it will, and how much memory that takes."""
    start = [metric for metric in _START if taken(record, (metric,))]
    memory = [(metric, batch) for metric in _MEMORY for batch in _batches(record, metric)]
    by_runtime = _by_runtime(record)
    several = len(by_runtime) > 1
    compared = any(pair.metric == "memory_ratio" for pair in record.pairs)
    columns = [
        Column("Model", numeric=False),
        *([Column("Runtime", numeric=False)] if several else []),
        *(Column(METRICS[metric].title) for metric in start),
        *(Column(f"{METRICS[metric].title}, batch {batch}") for metric, batch in memory),
        *([column("memory_ratio")] if compared else []),
    ]
    rows = [
        row(
            subject,
            *([Text(runtime)] if several else []),
            *(_or_dash(known, metric, number(known, subject, metric)) for metric in start),
            *(_or_dash(known, metric, number_at(known, subject, metric, {"batch": batch})) for metric, batch in memory),
            *([_ratio(known, subject)] if compared else []),
        )
        for runtime, known in by_runtime.items()
        for subject in subjects(record)
    ]
    return finished("Start-up and memory", columns, rows, [*_notes_on_start(record, start), *_notes_on_memory(memory)])


def _ratio(record: RunRecord, subject: ModelGroup) -> Cell:
    """Return the memory ratio of a student; a dash for a teacher, and where no memory was taken of this runtime."""
    if teacher_of(record, subject) is None or not taken(record, _MEMORY):
        return Text("–")
    return pair_number(record, subject, "memory_ratio")


def _by_runtime(record: RunRecord) -> dict[str, RunRecord]:
    """Return, for each runtime that started or held a model, the record of that runtime alone."""
    found: dict[str, list[Measurement]] = {}
    for m in record.measurements:
        if m.metric in {*_START, *_MEMORY}:
            found.setdefault(str(m.axes.get("runtime", "onnxruntime")), []).append(m)
    return {name: record.model_copy(update={"measurements": tuple(of_it)}) for name, of_it in sorted(found.items())}


def _or_dash(record: RunRecord, metric: str, cell: Number) -> Cell:
    """Return the cell; a dash where the metric was never taken of this runtime."""
    return cell if taken(record, (metric,)) else Text("–")


def _batches(record: RunRecord, metric: str) -> list[int]:
    """Return the batches at which a memory was taken of models whose batch is open; 1 where there are none."""
    if not taken(record, (metric,)):
        return []
    found = {
        m.axes.get("batch")
        for m in record.measurements
        if m.metric == metric and record.cards[m.model].fixed_batch is None
    }
    return sorted(batch for batch in found if isinstance(batch, int)) or [1]


def _notes_on_start(record: RunRecord, start: list[str]) -> list[str]:
    if not start:
        return []
    imported = record.protocol.get("runtime_import_ns")
    besides = (
        f" Importing the runtime comes before: {METRICS['load_ns'].text(imported)} here, whatever the model."
        if isinstance(imported, int | float)
        else ""
    )
    note = (
        "Load, first and steady run: medians over fresh processes, all three of one process and one kind of call. The "
        f"files were in the system's page cache; read from a disk, loading takes longer.{besides}"
    )
    return [note]


def _notes_on_memory(memory: list[tuple[str, int]]) -> list[str]:
    if not memory:
        return []
    note = (
        "Peak memory: the most that was resident at once in a process that loads and runs one model and nothing else, "
        "interpreter, runtime and inputs included. Model memory: its part of that. The ratio is of peak memory, "
        "teacher over student, at the smallest batch."
    )
    return [note]
