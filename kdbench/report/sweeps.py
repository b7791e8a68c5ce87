"""Speed-ups beyond the headline: at every thread count, batch, runtime and way of calling that was measured."""

from kdbench.report.axes import batched_axes, configurations, headline, in_words, shared, swept
from kdbench.report.cells import Column, Row, Table, Text, finished
from kdbench.report.columns import column
from kdbench.report.subjects import pair_number, subjects, teacher_of
from kdbench.results.records import RunRecord


def speedups(record: RunRecord) -> Table:
    """Return each student's speed-up at every configuration, if there are others than the ratios' table holds."""
    compared = [pair.axes for pair in record.pairs if pair.metric == "latency_ratio" and pair.value is not None]
    taken = [axes for axes in configurations(record) if axes in compared]
    known = [headline(record), dict(batched_axes(record))]
    shown = swept(taken)
    columns = [
        Column("Student", numeric=False),
        *(Column(head, numeric=head in {"Threads", "Batch"}) for head in shown),
        column("latency_ratio"),
    ]
    rows = [
        Row(
            (
                Text(subject.label, code=True),
                *(Text(write(axes)) for write in shown.values()),
                pair_number(record, subject, "latency_ratio", axes),
            ),
            group=tuple(sorted(axes.items())),
        )
        for axes in (taken if any(axes not in known for axes in taken) else [])
        for subject in subjects(record)
        if teacher_of(record, subject) is not None
    ]
    constant = shared(taken, shown)
    note = f"Teacher over student, from blocks that were timed side by side{in_words(constant, '. All at ')}."
    return finished("Speed-up by configuration", columns, rows, [note])
