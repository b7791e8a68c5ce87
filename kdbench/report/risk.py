"""How much the empirical and the distilled risk of each student vary."""

from kdbench import units
from kdbench.report.cells import Column, Number, Table, finished
from kdbench.report.columns import row
from kdbench.report.subjects import ModelGroup, number, subjects
from kdbench.results.records import RunRecord

_VARIANCES = ("empirical_risk_variance", "distilled_risk_variance")


def risk_variance(record: RunRecord) -> Table:
    """Return the variances of both risks over test samples, and their ratio."""
    heads = ("Variance of the empirical risk", "Variance of the distilled risk", "Distilled / empirical")
    columns = [Column("Model", numeric=False), *map(Column, heads)]
    told = {m.model for m in record.measurements if m.metric in _VARIANCES}
    rows = [row(subject, *_cells(record, subject)) for subject in subjects(record) if told & set(subject.ids)]
    notes = [
        (
            "Variances of one test sample's risk, in nats²; of the mean of N samples, the N-th part. Empirical: the "
            "loss at the label; distilled: its expectation under the teacher's probabilities. Were those the true "
            "ones, the second could not be larger (Menon et al. 2021): a ratio below 1 is what distillation gains."
        )
    ]
    return finished("Risk variance", columns, rows, notes)


def _cells(record: RunRecord, subject: ModelGroup) -> list[Number]:
    empirical, distilled = (number(record, subject, metric) for metric in _VARIANCES)
    if empirical.value and distilled.value is not None:
        return [empirical, distilled, Number(units.number, distilled.value / empirical.value)]
    reason = empirical.reason or "the empirical risk does not vary"
    return [empirical, distilled, Number(units.number, reason=reason, status="unavailable")]
