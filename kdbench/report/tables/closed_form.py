"""Linear students compared with the least-squares solutions of their objectives, which training should reach."""

from functools import partial

from kdbench import units
from kdbench.report.cells import Number
from kdbench.report.model_groups import ModelGroup, groups_with
from kdbench.report.numbers import number
from kdbench.report.table import Column, Field, Table, metric_field, model_table, text_field
from kdbench.results.records import Axes, RunRecord

_NOTE = (
    "Closed form: the test error of the least-squares solution of the same objective on the same training samples, "
    "(1 − w)·β_OLS + w·β_t where w is the teacher's share of the weights; a trained model should equal it. Expected: "
    "its mean over the noise on the training targets, of which the run has one draw for each component."
)


def closed_form(record: RunRecord) -> Table:
    """Return the measured test error of every model with a closed form, the closed form, and its expectation."""
    known = {m.model for m in record.measurements if m.metric == "closed_form_mse"}
    groups = groups_with(record, known)
    axes = list(dict.fromkeys(axis for group in groups for axis in group.cards[0].axes))

    def point(axis: str, group: ModelGroup) -> str:
        return str(group.cards[0].axes.get(axis, "–"))

    fields = [
        *(text_field(axis, partial(point, axis), numeric=True) for axis in axes),
        metric_field(record, "mse", higher_is_better=None),
        metric_field(record, "closed_form_mse", higher_is_better=None),
        Field(Column("Measured / closed form"), partial(_quotient, record)),
        metric_field(record, "expected_mse", higher_is_better=None),
    ]
    return model_table("Closed form", groups, fields, [_NOTE])


def _quotient(record: RunRecord, group: ModelGroup, _: Axes) -> Number:
    measured, exact = (number(record, group, metric) for metric in ("mse", "closed_form_mse"))
    if measured.value is None or not exact.value:
        return Number(units.number, reason=measured.reason or exact.reason or "the closed form is 0")
    return Number(units.number, measured.value / exact.value)
