"""Each model compared sample by sample with its reference: flips, worst class, calibration."""

from dataclasses import replace
from functools import partial

from kdbench.report.cells import Cell
from kdbench.report.model_groups import ModelGroup, groups_with, has_seeds, teacher_of
from kdbench.report.numbers import number
from kdbench.report.table import Field, Table, column, metric_field, model_table, note_on_bold, text_field
from kdbench.results.metrics import PAIR_METRICS
from kdbench.results.records import Axes, RunRecord
from kdbench.results.records.index import once_per_record

_FLIPS = tuple(metric.id for metric in PAIR_METRICS.values() if metric.group == "flips")
_NOTES = (
    (
        "Negative flips: share of the test samples that the reference gets right and the model wrong; positive flips: "
        "the reverse. The drop is their difference, in percentage points. McNemar p: how likely counts at least as "
        "unequal are if both models are right equally often (exact, mid-p); a large p does not show that they are. "
        "Of several seeds it is twice the mean p, which holds for tests on the same samples."
    ),
    (
        "Worst class: the class that loses most, in points. Its interval allows for the choice among all classes: no "
        "class loses more than its high end."
    ),
)
_SHIFTS = (
    "ECE shift: growth of the calibration error, in points{interval}. Overconfidence shift: growth of the mean of "
    "confidence − accuracy, in points."
)
_MAX_NAMED = 3  # worst classes of several seeds


def flips(record: RunRecord) -> Table:
    """Return the flips of each model; nothing for records without any, such as a regression's."""
    fields = [
        text_field("Reference", lambda group: teacher_of(record, group) or "", code=True),
        metric_field(record, "negative_flips"),
        metric_field(record, "positive_flips"),
        metric_field(record, "top1_drop", head="Top-1 drop (points)", unit=""),
        metric_field(record, "mcnemar_p", higher_is_better=None, unit=""),
        Field(column("worst_class_drop", head="Worst class (points)", unit=""), partial(_worst_class, record)),
        metric_field(record, "ece_shift", head="ECE shift (points)", unit=""),
        metric_field(
            record, "overconfidence_shift", head="Overconfidence shift (points)", unit="", higher_is_better=None
        ),
    ]
    groups = groups_with(record, _compared(record))
    interval = "; its interval covers the choice of seeds only" if has_seeds(record) else ", without an interval"
    bold = note_on_bold((teacher_of(record, group) for group in groups), "reference")
    notes = [*_NOTES, _SHIFTS.format(interval=interval), bold]
    return model_table("Flips", groups, fields, notes, ranking=partial(teacher_of, record))


@once_per_record
def _compared(record: RunRecord) -> set[str]:
    """Return the ids of the models that have flips, or reasons why not."""
    return {pair.student for pair in record.pair_index.having(*_FLIPS)}


def _worst_class(record: RunRecord, group: ModelGroup, _: Axes) -> Cell:
    """Return the largest loss of a class, with the class; of several seeds the mean, with each one's class."""
    cell = number(record, group, "worst_class_drop")
    pairs = [pair for id_ in group.ids if (pair := record.find_pair(id_, "worst_class_drop")) and "class" in pair.axes]
    names = [str(name) for name in dict.fromkeys(pair.axes["class"] for pair in pairs)]
    named = ", ".join(names[:_MAX_NAMED]) + (", …" if len(names) > _MAX_NAMED else "")
    n = f"n = {pairs[0].n:,}" if len(pairs) == 1 and pairs[0].n is not None else ""
    return replace(cell, aside=", ".join(filter(None, (named, n, cell.aside)))) if cell.value is not None else cell
