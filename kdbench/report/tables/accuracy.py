"""How accurate models are: by class, how well calibrated, and on training images with wrong labels."""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

from kdbench import units
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.model_groups import ModelGroup, groups_with, has_metric, has_seeds, model_groups, teacher_of
from kdbench.report.numbers import number
from kdbench.report.table import DASH, Column, Field, Table, metric_field, model_table
from kdbench.results.records import Axes, RunRecord
from kdbench.results.records.index import once_per_record

Shares = Mapping[str | int, float]
"""Top-1 by class, in the order of the labels."""

TRAIN: Axes = {"part": "train"}
MAX_COLUMNS = 10
_EXTREMES = 3
_ECE = (
    "ECE is the expected calibration error: samples are grouped by their largest probability into 15 equal bins; ECE "
    "is the mean of |accuracy − probability| over the bins, weighted by their number of samples (Guo et al. 2017)."
)
_ECE_INTERVAL = "It has no interval, because it is biased upwards for few samples."
_ECE_OF_SEEDS = "It is biased upwards for few samples, and its interval covers the choice of seeds only."
_LOSS = "Loss is in nats."
_NOISE = (
    "Training images whose label was replaced by a wrong one. Corrected: the model predicts the true class. Memorised: "
    "it predicts the wrong label. Evaluated without augmentation, with the final weights. Models trained without wrong "
    "labels are left out."
)


def calibration(record: RunRecord) -> Table:
    """Return calibration error and loss, on the test set and, if they were evaluated, on training images."""
    on_train = any(m.metric == "ece" and m.axes == TRAIN for m in record.measurements)
    parts: list[tuple[str, Axes]] = [("test", {}), *([("train", TRAIN)] if on_train else [])]
    fields = [
        metric_field(record, metric, axes, head=f"{head}, {part}", unit="")
        for head, metric in (("ECE", "ece"), ("Loss", "loss"))
        for part, axes in parts
    ]
    groups = model_groups(record) if has_metric(record, "ece") else []
    note = f"{_ECE} {_ECE_OF_SEEDS if has_seeds(record) else _ECE_INTERVAL} {_LOSS}"
    return model_table("Calibration", groups, fields, [note])


def label_noise(record: RunRecord) -> Table:
    """Return how many of the images with a wrong label each model corrects and memorises."""
    counts = {m.model: m.n for m in record.measurements if m.metric == "noise_corrected"}

    def wrong_labels(group: ModelGroup, _: Axes) -> Number:
        n = next(counts[id_] for id_ in group.ids if id_ in counts)
        return Number(units.integer, n, reason="" if n else number(record, group, "noise_corrected").reason)

    def neither(group: ModelGroup, _: Axes) -> Number:
        corrected, memorised = (number(record, group, f"noise_{part}") for part in ("corrected", "memorised"))
        if corrected.value is None or memorised.value is None:
            return Number(units.share, reason=corrected.reason)
        return Number(units.share, max(1 - corrected.value - memorised.value, 0.0))  # below 0 by rounding

    fields = [
        Field(Column("Wrong labels"), wrong_labels),
        metric_field(record, "noise_corrected"),
        metric_field(record, "noise_memorised"),
        Field(Column("Neither"), neither),
    ]
    groups = groups_with(record, counts)
    return model_table("Label noise", groups, fields, [_NOISE])


@once_per_record
def class_shares(record: RunRecord) -> dict[str, Shares]:
    """Return the accuracy on each class, by the group's label; the mean over the seeds that have one."""
    by_model: dict[str, dict[str | int, float]] = {}
    for m in record.measurement_index.having("class_top1"):
        if m.value is not None:
            by_model.setdefault(m.model, {})[m.axes["class"]] = m.value
    shares: dict[str, Shares] = {}
    for group in model_groups(record):
        if seeds := [by_model[id_] for id_ in group.ids if id_ in by_model]:
            names = dict.fromkeys(name for seed in seeds for name in seed)
            shares[group.label] = {name: fmean(seed[name] for seed in seeds if name in seed) for name in names}
    return shares


def differences(shares: Mapping[str, Shares], student: str, teacher: str | None) -> dict[str | int, float]:
    """Return student minus teacher, in points, on each class that both were evaluated on."""
    ours, theirs = shares.get(student, {}), shares.get(teacher or "", {})
    return {name: 100 * (share - theirs[name]) for name, share in ours.items() if name in theirs}


def per_class(record: RunRecord) -> Table:
    """Return the accuracy on every class, or the lowest and highest of many classes."""
    shares = class_shares(record)
    classes = list(dict.fromkeys(name for model_shares in shares.values() for name in model_shares))
    groups = [group for group in model_groups(record) if group.label in shares]
    if len(classes) <= MAX_COLUMNS:
        fields = [Field(Column(str(name), True, intervals=False), partial(_share, shares, name)) for name in classes]
        note = "Top-1 on the test samples of each class. The record has the intervals."
        return model_table("Per-class accuracy", groups, fields, [note])
    heads = ("Lowest", "Highest", "Furthest below the teacher", "Furthest above")
    extremes = {group.label: _extremes(record, shares, group) for group in groups}
    fields = [
        Field(Column(head, numeric=False), lambda group, _, index=index: extremes[group.label][index])  # type: ignore[misc]
        for index, head in enumerate(heads)
    ]
    note = (
        f"Top-1 on the test samples of each of {len(classes)} classes: the {_EXTREMES} lowest and highest, and the "
        "largest differences from the teacher, in points. With many classes the extremes are partly chance."
    )
    return model_table("Per-class accuracy", groups, fields, [note])


def _share(shares: Mapping[str, Shares], name: str | int, group: ModelGroup, _: Axes) -> Number:
    share = shares[group.label].get(name)
    return Number(units.share, share, reason="not measured" if share is None else "")


def _extremes(record: RunRecord, shares: Mapping[str, Shares], group: ModelGroup) -> list[Cell]:
    accuracy = shares[group.label]
    ranked = sorted(accuracy, key=lambda name: accuracy[name])
    gaps = differences(shares, group.label, teacher_of(record, group))
    by_gap = sorted(gaps, key=lambda name: gaps[name])
    share_texts = {name: f"{100 * share:.0f} %" for name, share in accuracy.items()}
    gap_texts = {name: units.points(gap) for name, gap in gaps.items()}
    return [
        _listed(ranked, share_texts),
        _listed(ranked[::-1], share_texts),
        _listed([name for name in by_gap if gaps[name] < 0], gap_texts),
        _listed([name for name in reversed(by_gap) if gaps[name] > 0], gap_texts),
    ]


def _listed(names: Sequence[str | int], texts: Mapping[str | int, str]) -> Text:
    return Text(", ".join(f"{name} {texts[name]}" for name in names[:_EXTREMES])) if names else DASH
