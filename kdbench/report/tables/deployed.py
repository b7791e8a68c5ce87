"""The flash and RAM that a model needs on another processor, such as a microcontroller, and its accuracy there."""

from kdbench.report.axes import unique
from kdbench.report.model_groups import has_metric, model_groups
from kdbench.report.numbers import number
from kdbench.report.scores import score_of
from kdbench.report.table import Field, Table, axes_table, column
from kdbench.results.records import RunRecord

_FILE, _ARENA, _CHANGED = "deployed_bytes", "arena_bytes", "answers_changed"
_NOTE = (
    "The flash holds the file, the RAM the arena: the memory that the interpreter allocates for activations and its "
    "own structures, counted with 64-bit pointers, so a microcontroller needs less. Answers are those of the file on "
    "this machine; changed answers are test samples whose predicted class differs from that in onnxruntime."
)


def deployed(record: RunRecord) -> Table:
    """Return file, arena and accuracy of every model in each runtime for another processor."""
    at = unique(
        [{"runtime": m.axes["runtime"]} for m in record.measurement_index.having(_ARENA) if "runtime" in m.axes]
    )
    score = score_of(record).metric
    metrics = [_FILE, _ARENA, *(metric for metric in (score, _CHANGED) if has_metric(record, metric))]

    def field(metric: str) -> Field:
        return Field(column(metric), lambda group, axes: number(record, group, metric, axes))

    rows = [(axes, group) for group in model_groups(record) for axes in at]
    heads = {"Runtime": lambda axes: str(axes["runtime"])}
    return axes_table("On another processor", rows, heads, map(field, metrics), [_NOTE])
