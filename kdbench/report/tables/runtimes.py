"""The same models in several runtimes: their speed in each, and their changed predictions."""

from collections.abc import Mapping, Sequence
from functools import partial

from kdbench.report.axes import axes_columns, common_axes, configurations, format_axes
from kdbench.report.cells import Cell
from kdbench.report.model_groups import ModelGroup, has_metric, model_groups
from kdbench.report.numbers import number
from kdbench.report.scores import score_of
from kdbench.report.table import DASH, Column, Field, Table, axes_table, column, metric_field
from kdbench.results.records import Axes, RunRecord
from kdbench.results.records.index import once_per_record
from kdbench.results.runtimes import USUAL_RUNTIME, runtime_of

_RATIO, _CHANGED, _FILE = "runtime_ratio", "answers_changed", "deployed_bytes"


def runtimes(record: RunRecord) -> Table:
    """Return latency, speed-up and score of every model in every runtime, if there are several.

    Rows of one model at one configuration compete for the best.
    """
    at = [axes for axes in configurations(record) if len(names := _names(record)) > 1 and runtime_of(axes) in names]
    score = score_of(record).metric
    columns = {"Runtime": runtime_of, **axes_columns(at)}
    fields = [
        metric_field(record, "latency_p50_ns", unit=""),
        *[Field(_ratio_column(base), partial(_ratio, record, base)) for base in _bases(record)],
        *([Field(column(score), partial(_score, record, score))] if has_metric(record, score) else []),
        *(
            Field(column(metric), partial(_in_runtime, record, metric))
            for metric in (_CHANGED, _FILE)
            if _has_in_runtimes(record, metric)
        ),
    ]
    rows = [
        (axes, group)
        for group in model_groups(record)
        for axes in sorted(at, key=_configuration)
        if any(record.find(id_, "latency_p50_ns", **axes) for id_ in group.ids)
    ]
    return axes_table("Runtimes", rows, columns, fields, _notes(record, at, columns), ranking=_ranking)


@once_per_record
def _names(record: RunRecord) -> frozenset[str]:
    """Return the runtimes that were to time any model; a refused one has rows with the reason."""
    return frozenset(runtime_of(m.axes) for m in record.measurement_index.having("latency_p50_ns") if m.axes)


@once_per_record
def _bases(record: RunRecord) -> Sequence[str]:
    """Return the runtimes that others are compared with."""
    return list(dict.fromkeys(str(m.axes["beside"]) for m in record.measurement_index.having(_RATIO) if m.axes))


def _ratio_column(base: str) -> Column:
    return column(_RATIO, head=f"Speed-up over {base}", unit="")


def _ratio(record: RunRecord, base: str, group: ModelGroup, axes: Axes) -> Cell:
    return DASH if runtime_of(axes) == base else number(record, group, _RATIO, {**axes, "beside": base})


def _score(record: RunRecord, metric: str, group: ModelGroup, axes: Axes) -> Cell:
    """Return the score in the row's runtime; in onnxruntime, the file's main score."""
    if runtime_of(axes) == USUAL_RUNTIME:
        return number(record, group, metric)
    return _in_runtime(record, metric, group, axes)


def _has_in_runtimes(record: RunRecord, metric: str) -> bool:
    """Return whether a runtime of this table has the metric; those of other processors have their own table."""
    names = _names(record)
    return any(m.axes and runtime_of(m.axes) in names for m in record.measurement_index.having(metric))


def _in_runtime(record: RunRecord, metric: str, group: ModelGroup, axes: Axes) -> Cell:
    """Return a number that only other runtimes than onnxruntime have; a dash in those without it."""
    at = {"runtime": runtime_of(axes)}
    return number(record, group, metric, at) if any(record.find(id_, metric, **at) for id_ in group.ids) else DASH


def _notes(record: RunRecord, at: Sequence[Axes], columns: Mapping[str, object]) -> list[str]:
    common = format_axes(common_axes(at, [*columns]), ". All at ")
    times = (
        "p50 is the median time of one call of the runtime's own interface. A session has one process for each "
        "runtime, one after the other on the same cores, and gives one ratio of medians; the interval is over sessions"
        f"{common}."
    )
    others = {
        _CHANGED: "Changed answers: test samples whose predicted class differs from that in onnxruntime.",
        _FILE: "Deployed file: the converted file that the runtime takes; the others take the .onnx file.",
    }
    return [times, *(note for metric, note in others.items() if _has_in_runtimes(record, metric))]


def _configuration(axes: Axes) -> tuple[str, ...]:
    """Return a sort key from all axes except the runtime: runtimes keep the record's order."""
    return tuple(f"{key} {value:>12}" for key, value in sorted(axes.items()) if key != "runtime")


def _ranking(group: ModelGroup, axes: Axes) -> tuple[object, ...]:
    return group.label, _configuration(axes)
