"""How closely students follow their teachers: fidelity, variance of the risks, and samples that KL ranks wrongly."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from kdbench import units
from kdbench.report.cells import Cell, Number, Text, complement
from kdbench.report.model_groups import (
    ModelGroup,
    group_of,
    groups_with,
    has_metric,
    has_seeds,
    have_one_teacher,
    model_groups,
)
from kdbench.report.numbers import number
from kdbench.report.table import DASH, Column, Field, Row, Table, column, finished, model_table, text_field, words
from kdbench.report.tables.accuracy import TRAIN
from kdbench.results.metrics import METRICS, metrics_in
from kdbench.results.records import Axes, Measurement, RunRecord
from kdbench.results.records.index import once_per_record

_RELATIVE = metrics_in("fidelity")  # to a teacher
_NOTES: Mapping[str, str] = {
    "agreement": "Agreement: share of samples on which student and teacher predict the same class.",
    "predictive_kl": "KL: KL(teacher‖student) in nats at temperature 1.",
    "standardized_kl": "KL, standardized: KL of the logits minus their mean, divided by their standard deviation.",
    "logit_spearman": "Rank correlation: Spearman's, between the student's and the teacher's logits of a sample.",
    "loss": "Loss: cross-entropy with the labels, in nats.",
}
_TRAIN_HEADS = {"agreement": ("KD error", False), "predictive_kl": ("KL", False), "top1": ("Top-1", True)}
_COUNTS = metrics_in("mismatches")
_MISMATCH = (
    "A mismatch is a sample whose label the teacher and exactly one of the two students predict, where that student "
    "has the larger KL(teacher‖student).{of} Fixed: with standardized logits it is not a mismatch. Made: it is a "
    "mismatch only with standardized logits."
)
_OF = " `of` counts the samples that exactly one student predicts correctly."
_EXAMPLES = 4
_EXAMPLE = ("predictive_kl", "standardized_kl", "logit_spearman")
_RISKS = ("empirical", "distilled")
_RISK = (
    "Variance of the risk of one test sample, in nats²; the variance of a mean over N samples is 1/N of it. Empirical "
    "risk: the loss at the label. Distilled risk: the expected loss under the teacher's probabilities. If those were "
    "the true probabilities, the ratio could not exceed 1 (Menon et al. 2021). A ratio below 1 means that fewer "
    "samples estimate the distilled risk as precisely. It is no gain in accuracy, and students trained on labels alone "
    "have it, too."
)


def fidelity(record: RunRecord) -> Table:
    """Return how closely each student follows its teacher on the test set."""
    metrics = [metric for metric in _NOTES if has_metric(record, metric)]
    fields = [Field(column(metric), partial(_student_number, record, metric)) for metric in metrics]
    groups = model_groups(record) if metrics else []
    return model_table("Fidelity", groups, fields, [" ".join(_NOTES[metric] for metric in metrics)])


def train_against_test(record: RunRecord) -> Table:
    """Return fidelity and accuracy on training images next to those on the test set, if there are any."""
    on_train = [m for m in record.measurements if m.metric == "top1" and m.axes == TRAIN]
    models = {m.model for m in on_train}

    def cell(metric: str, axes: Axes) -> Field:
        head, better = _TRAIN_HEADS[metric]

        def compute(group: ModelGroup, _: Axes) -> Cell:
            result = _student_number(record, metric, group, axes)
            return complement(result) if metric == "agreement" and isinstance(result, Number) else result

        return Field(Column(f"{head}, {'train' if axes else 'test'}", better), compute)

    fields = [cell(metric, axes) for metric in _TRAIN_HEADS for axes in (TRAIN, {})]
    counts = sorted({m.n for m in on_train if m.n})
    n = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}" if counts else "some"
    note = (
        f"Train: {n} images that a model was trained on, the same share of each class, without augmentation and with "
        "the training labels; a student is compared with its teacher on the student's images. KD error: 1 − agreement."
    )
    groups = groups_with(record, models)
    return model_table("Train against test", groups, fields, [note])


def risk_variance(record: RunRecord) -> Table:
    """Return the variances of both risks over test samples, and their ratio."""
    known = {m.model for m in record.measurements if m.metric in {f"{risk}_risk_variance" for risk in _RISKS}}

    def variance(risk: str, group: ModelGroup, _: Axes) -> Number:
        return number(record, group, f"{risk}_risk_variance")

    def ratio(group: ModelGroup, axes: Axes) -> Number:
        empirical, distilled = (variance(risk, group, axes) for risk in _RISKS)
        if empirical.value and distilled.value is not None:
            return Number(units.number, distilled.value / empirical.value)
        reason = empirical.reason or "the empirical risk does not vary"
        return Number(units.number, reason=reason, status="unavailable")

    fields = [
        *(Field(Column(f"Variance of the {risk} risk"), partial(variance, risk)) for risk in _RISKS),
        Field(Column("Distilled / empirical"), ratio),
    ]
    groups = groups_with(record, known)
    return model_table("Risk variance", groups, fields, [_RISK])


def mismatches(record: RunRecord) -> Table:
    """Return how often each student and the independent one are mismatched, before and after standardization."""
    counted = {m.model: m for m in reversed(record.measurements) if m.metric == "mismatches"}
    on_train = any(m.metric == "mismatches" and "part" in m.axes for m in record.measurements)
    parts: list[tuple[str, Axes]] = [("test", {}), *([("train", TRAIN)] if on_train else [])]

    def beside(group: ModelGroup) -> str:
        first = next(counted[id_] for id_ in group.ids if id_ in counted)
        return record.cards[str(first.axes["beside"])].name

    fields = [
        text_field("Beside", beside, code=True),
        *(
            Field(
                Column(f"{METRICS[metric].title}, {part}", intervals=False),
                lambda group, _, metric=metric, axes=axes: _count(record, group, metric, axes),  # type: ignore[misc]
            )
            for part, axes in parts
            for metric in _COUNTS
        ),
    ]
    groups = groups_with(record, counted)
    note = _MISMATCH.format(of="" if all(len(group.distinct) > 1 for group in groups) else _OF)
    return model_table("Mismatch analysis", groups, fields, [note], name="Student")


def examples(record: RunRecord) -> Table:
    """Return the first mismatch that standardization fixes, for up to four pairs of students, whatever their seed."""
    by_pair: dict[tuple[str, str], dict[str, Measurement]] = {}
    for m in record.measurements:
        if "sample" in m.axes:
            by_pair.setdefault((m.model, str(m.axes["beside"])), {})[m.metric] = m
    counts = {student: record.find(student, "mismatches") for student, _ in by_pair}  # of distilled students
    of_model = group_of(record)
    by_names: dict[tuple[str, str], tuple[str, str]] = {}
    for student, other in by_pair:
        if (count := counts[student]) and count.axes["beside"] == other:
            by_names.setdefault((of_model[student].label, of_model[other].label), (student, other))
    pairs = list(by_names.values())
    numbers = [column(metric, higher_is_better=None) for metric in _EXAMPLE]
    columns = [*words("Sample", "Model"), *numbers, *words("Prediction")]
    keys = [key for student, other in pairs[:_EXAMPLES] for key in ((student, other), (other, student))]
    more = f" The record has examples of {len(pairs) - _EXAMPLES} more pairs." if len(pairs) > _EXAMPLES else ""
    note = (
        "The first sample of the test set, counted from 0, on which standardization ranks the two students correctly."
        f"{' Of several seeds, the first one that has such a sample.' if has_seeds(record) else ''}"
    )
    rows = [_example(record, by_pair[key]) for key in keys]
    return finished("A mismatch that standardization fixes", columns, rows, [f"{note}{more}"])


def _count(record: RunRecord, group: ModelGroup, metric: str, axes: Axes) -> Number:
    cell = replace(
        number(record, group, metric, axes),
        write=lambda count: f"{count:,.0f}" if count == round(count) else f"{count:,.1f}",  # the mean of several seeds
    )
    n = next((m.n for id_ in group.ids if (m := record.find(id_, metric, **axes))), None)
    shown = metric == "mismatches" and cell.value is not None and len(group.distinct) == 1
    return replace(cell, aside=f"of {n:,}") if shown and n is not None else cell


def _example(record: RunRecord, measurements: Mapping[str, Measurement]) -> Row:
    top1, *others = (measurements[metric] for metric in ("top1", *_EXAMPLE))
    names = (Text(f"{top1.axes['sample']} ({top1.axes['class']})"), Text(record.cards[top1.model].name, code=True))
    numbers = (Number(METRICS[m.metric].text, m.value, status=m.status, reason=m.reason or "") for m in others)
    return Row((*names, *numbers, Text("right" if top1.value else "wrong")))


def _student_number(record: RunRecord, metric: str, group: ModelGroup, axes: Axes) -> Cell:
    """Return the number; a dash if it compares with the teacher and the group is the teacher."""
    cell = number(record, group, metric, axes)
    if metric not in _RELATIVE:
        return cell
    if group.role == "teacher" and cell.value is None:
        return DASH
    return replace(cell, comparable=_have_one_teacher(record))


@once_per_record
def _have_one_teacher(record: RunRecord) -> bool:
    return have_one_teacher(record, model_groups(record))
