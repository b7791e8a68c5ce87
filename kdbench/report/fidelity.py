"""How closely students follow their teachers, on the test set and on what they were trained on."""

from collections.abc import Mapping
from dataclasses import replace

from kdbench.report.cells import Cell, Column, Number, Table, Text, finished
from kdbench.report.columns import column, row, taken
from kdbench.report.rescaling import complement
from kdbench.report.subjects import ModelGroup, have_one_teacher, number, subjects
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, RunRecord

TRAIN: Axes = {"part": "train"}
_FOLLOWED = metrics_in("fidelity")  # there is a teacher to follow
_TOLD: Mapping[str, str] = {
    "agreement": "Agreement: share of samples on which student and teacher name the same class.",
    "predictive_kl": "KL: KL(teacher‖student) in nats at temperature 1.",
    "standardized_kl": "KL, standardized: the same of logits less their mean, over their standard deviation.",
    "logit_spearman": "Rank correlation: Spearman's, between the student's and the teacher's logits of a sample.",
    "loss": "Loss: cross-entropy with the labels, in nats.",
}


def fidelity(record: RunRecord) -> Table:
    """Return how closely each student follows its teacher, on the test set."""
    metrics = [metric for metric in _TOLD if taken(record, (metric,))]
    columns = [Column("Model", numeric=False), *(column(metric) for metric in metrics)]
    rows = [
        row(subject, *(_of_students(record, subject, metric) for metric in metrics))
        for subject in subjects(record)
        if metrics
    ]
    return finished("Fidelity", columns, rows, [" ".join(_TOLD[metric] for metric in metrics)])


def train_against_test(record: RunRecord) -> Table:
    """Return fidelity and accuracy on training images beside those on the test set, if any were looked at."""
    looked_at = [m for m in record.measurements if m.metric == "top1" and m.axes == TRAIN]
    pairs = (("KD error", False, "agreement"), ("KL", False, "predictive_kl"), ("Top-1", True, "top1"))
    columns = [
        Column("Model", numeric=False),
        *(Column(f"{head}, {part}", better) for head, better, _ in pairs for part in ("train", "test")),
    ]
    rows = [
        row(subject, *(_cell(record, subject, metric, axes) for *_, metric in pairs for axes in (TRAIN, {})))
        for subject in subjects(record)
        if any(m.model in subject.ids for m in looked_at)
    ]
    counts = sorted({m.n for m in looked_at if m.n})
    n = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}" if counts else "some"
    notes = [
        (
            f"Train: {n} of the images that a model was trained on, the same share of every class, without "
            "augmentation and with the labels that the training was told; a student is compared with its teacher on "
            "the student's. KD error: 1 − agreement."
        )
    ]
    return finished("Train against test", columns, rows, notes)


def _cell(record: RunRecord, subject: ModelGroup, metric: str, axes: Axes) -> Cell:
    cell = _of_students(record, subject, metric, axes)
    return complement(cell) if metric == "agreement" and isinstance(cell, Number) else cell


def _of_students(record: RunRecord, subject: ModelGroup, metric: str, axes: Axes | None = None) -> Cell:
    """Return the number; a dash where it compares with the teacher and the subject is the teacher."""
    cell = number(record, subject, metric, axes)
    if metric not in _FOLLOWED:
        return cell
    if subject.role == "teacher" and cell.value is None:
        return Text("–")
    return replace(cell, comparable=have_one_teacher(record, subjects(record)))
