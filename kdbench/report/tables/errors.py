"""The errors of a regression's predictions with respect to the targets and to the teacher's predictions."""

from dataclasses import replace
from functools import partial

from kdbench.report.cells import Cell
from kdbench.report.model_groups import ModelGroup, has_metric, have_one_teacher, model_groups
from kdbench.report.numbers import number
from kdbench.report.table import DASH, Field, Table, column, metric_field, model_table
from kdbench.report.tables.accuracy import TRAIN
from kdbench.results.metrics import METRICS
from kdbench.results.records import Axes, RunRecord
from kdbench.results.records.index import once_per_record

_MAX_TARGETS = 6  # with a column each; the record has all
_NOTE = (
    "Errors on the test samples, in the unit of the targets (MSE: its square); means over the components of a target. "
    "R² is 1 minus the ratio of the MSE to the targets' variance: 0 if the mean were the only prediction. MSE to "
    "teacher: between the predictions of a student and its teacher."
)
_TRAIN = " Train: on samples that the model was trained on, with the targets of its training, their noise included."


def errors(record: RunRecord) -> Table:
    """Return the errors of every model, and of students the distance from their teacher."""
    on_train = any(m.metric == "rmse" and m.axes == TRAIN for m in record.measurements)
    train = [metric_field(record, "rmse", TRAIN, head="RMSE, train", unit="")] if on_train else []
    targets = dict.fromkeys(m.axes["target"] for m in record.measurements if m.metric == "target_rmse")
    named = targets if len(targets) <= _MAX_TARGETS else ()
    fields = [
        *(metric_field(record, metric) for metric in ("mse", "rmse", "mae", "r2")),
        *train,
        *(metric_field(record, "target_rmse", {"target": name}, head=f"RMSE, {name}", unit="") for name in named),
        Field(column("teacher_mse"), partial(_to_teacher, record)),
    ]
    groups = model_groups(record) if has_metric(record, "mse") else []
    return model_table("Errors", groups, fields, [f"{_NOTE}{_TRAIN if on_train else ''}"])


def _to_teacher(record: RunRecord, group: ModelGroup, _: Axes) -> Cell:
    if group.role == "teacher" or not has_metric(record, METRICS["teacher_mse"].id):
        return DASH
    return replace(number(record, group, "teacher_mse"), comparable=_students_have_one_teacher(record))


@once_per_record
def _students_have_one_teacher(record: RunRecord) -> bool:
    return have_one_teacher(record, [group for group in model_groups(record) if group.role == "student"])
