"""Whether models are as sure as they are right, and what the loss makes of it."""

from kdbench.report.cells import Column, Table, finished
from kdbench.report.columns import row, taken
from kdbench.report.fidelity import TRAIN
from kdbench.report.subjects import number, subjects
from kdbench.results.records import RunRecord


def calibration(record: RunRecord) -> Table:
    """Return calibration error and loss, on the test set and, where they were looked at, on training images."""
    seen = any(m.metric == "ece" and m.axes == TRAIN for m in record.measurements)
    parts = [("test", {}), *([("train", TRAIN)] if seen else [])]
    heads = (("ECE", "ece"), ("Loss", "loss"))
    columns = [
        Column("Model", numeric=False),
        *(Column(f"{head}, {part}", False) for head, _ in heads for part, _ in parts),
    ]
    rows = [
        row(subject, *(number(record, subject, metric, axes) for _, metric in heads for _, axes in parts))
        for subject in subjects(record)
        if taken(record, ("ece",))
    ]
    notes = [
        (
            "ECE, the expected calibration error: samples go by their largest probability into 15 equal bins; it is "
            "the mean of |accuracy − probability| over the bins, weighed by their samples (Guo et al. 2017). It has no "
            "interval for the choice of samples: it is biased upwards, the more the fewer there are. Loss: in nats."
        )
    ]
    return finished("Calibration", columns, rows, notes)
