"""What became of wrong labels: corrected or believed."""

from kdbench import units
from kdbench.report.cells import Cell, Column, Number, Table, finished
from kdbench.report.columns import column, row
from kdbench.report.subjects import ModelGroup, number, subjects
from kdbench.results.records import RunRecord


def label_noise(record: RunRecord) -> Table:
    """Return, of the images whose label was changed, how many each model corrects and memorises."""
    columns = [
        Column("Model", numeric=False),
        Column("Wrong labels"),
        column("noise_corrected"),
        column("noise_memorised"),
        Column("Neither"),
    ]
    told = {m.model: m.n for m in record.measurements if m.metric == "noise_corrected"}
    rows = [
        row(subject, *_cells(record, subject, next(told[id_] for id_ in subject.ids if id_ in told)))
        for subject in subjects(record)
        if any(id_ in told for id_ in subject.ids)
    ]
    notes = [
        (
            "Of the images that a model was trained on with a wrong label: corrected are those that it gives their "
            "true class, memorised those that it gives the wrong label. Without augmentation, by the weights that it "
            "ended with. Models that were told no wrong label are left out."
        )
    ]
    return finished("Label noise", columns, rows, notes)


def _cells(record: RunRecord, subject: ModelGroup, n: int | None) -> list[Cell]:
    corrected, memorised = (number(record, subject, f"noise_{what}") for what in ("corrected", "memorised"))
    rest = None
    if corrected.value is not None and memorised.value is not None:
        rest = max(1 - corrected.value - memorised.value, 0.0)  # three shares that add up to 1, but for rounding
    counted = Number(units.whole, n, reason="" if n else corrected.reason)
    neither = Number(units.share, rest, reason="" if rest is not None else corrected.reason)
    return [counted, corrected, memorised, neither]
