"""How long calls take: percentiles, mean and throughput of every model, in every configuration."""

from collections.abc import Iterator, Mapping, Sequence

from kdbench.report.axes import configurations, in_words, runtime_of, shared, swept
from kdbench.report.cells import Cell, Column, Number, Row, Table, Text, finished
from kdbench.report.columns import column
from kdbench.report.subjects import ModelGroup, number, subjects
from kdbench.results.metrics import METRICS
from kdbench.results.records import Axes, RunRecord

_TIMES = ("latency_p50_ns", "latency_p90_ns", "latency_p95_ns", "latency_p99_ns", "latency_mean_ns")
_ALL = (*_TIMES, "throughput_per_s")
_NONE = Text("–")


def latency(record: RunRecord) -> Table:
    """Return latency percentiles and throughput of every model at every configuration that was measured.

    A runtime beside others that could not run a model has a note instead of rows of reasons.
    """
    taken = configurations(record)
    refusals = _refusals(record, taken)
    shown = swept(taken)
    columns = [
        Column("Model", numeric=False),
        *(Column(head, numeric=head in {"Threads", "Batch"}) for head in shown),
        *(Column(_head(metric), False) for metric in _TIMES),
        column("throughput_per_s"),
    ]
    rows = []
    for axes in taken:
        for subject in subjects(record):
            if not _told(record, subject, axes) or (runtime_of(axes), subject.label) in refusals:
                continue
            words = (Text(write(axes)) for write in shown.values())
            group = None if subject.role == "teacher" else tuple(sorted(axes.items()))
            cells = (Text(subject.label, code=True), *words, *_cells(record, subject, axes))
            rows.append(Row(cells, group=group))
    constant = shared(taken, shown)
    waits = any(axes.get("mode") == "server" for axes in taken)
    notes = [
        (
            f"Time of one call{', from its arrival on where calls arrive at random' if waits else ''}; a percentile is "
            "the order statistic, not an interpolation, and is given only where there are enough samples for it. "
            f"Throughput is in samples, not calls{in_words(constant, '. All at ')}."
        ),
        *_sentences(refusals),
    ]
    return finished("Latency", columns, rows, notes)


def _head(metric: str) -> str:
    return METRICS[metric].title.removeprefix("Latency ").capitalize().replace("P", "p")


def _cells(record: RunRecord, subject: ModelGroup, axes: Axes) -> list[Cell]:
    times = [number(record, subject, metric, axes) for metric in _TIMES]
    return [*times, number(record, subject, "throughput_per_s", axes) if "mode" not in axes else _NONE]


def _told(record: RunRecord, subject: ModelGroup, axes: Axes) -> bool:
    return any(record.find(id_, metric, **axes) for id_ in subject.ids for metric in _ALL)


def _refusals(record: RunRecord, taken: Sequence[Axes]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return why a runtime has no number of a model, by the runtime's name and the model's label: reason and hint.

    Those are left out that have several reasons, and models that no other runtime has a number of.
    """
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for subject in subjects(record):
        cells: dict[str, list[Number]] = {}
        for axes in taken:
            if _told(record, subject, axes):
                numbers = (cell for cell in _cells(record, subject, axes) if isinstance(cell, Number))
                cells.setdefault(runtime_of(axes), []).extend(numbers)
        empty = {name: own for name, own in cells.items() if all(cell.value is None for cell in own)}
        if len(empty) < len(cells):
            whys = {(name, subject.label): {(cell.reason, cell.hint) for cell in own} for name, own in empty.items()}
            found |= {key: why.pop() for key, why in whys.items() if len(why) == 1}
    return found


def _sentences(refusals: Mapping[tuple[str, str], tuple[str, str]]) -> Iterator[str]:
    for runtime, why in dict.fromkeys((runtime, why) for (runtime, _), why in refusals.items()):
        labels = [f"`{label}`" for (name, label), each in refusals.items() if (name, each) == (runtime, why)]
        yield f"Not measured with {runtime}: {', '.join(labels)} ({'; '.join(filter(None, why))})."
