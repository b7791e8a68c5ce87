"""Accuracy class by class: all of a few classes, the extremes of many."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from kdbench import units
from kdbench.report.cells import Cell, Column, Number, Table, Text, finished
from kdbench.report.columns import row
from kdbench.report.subjects import ModelGroup, subjects, teacher_of
from kdbench.results.records import RunRecord

Shares = Mapping[str | int, float]
"""Top-1 by class, in the order of the labels."""

MOST_COLUMNS = 10
_EXTREMES = 3


def class_shares(record: RunRecord) -> dict[str, Shares]:
    """Return the accuracies on each class by a subject's label; of several seeds, their mean."""
    by_model: dict[str, dict[str | int, float]] = {}
    for m in record.measurements:
        if m.metric == "class_top1" and m.value is not None:
            by_model.setdefault(m.model, {})[m.axes["class"]] = m.value
    found: dict[str, Shares] = {}
    for subject in subjects(record):
        seeds = [by_model[id_] for id_ in subject.ids if id_ in by_model]
        if seeds:
            found[subject.label] = {name: fmean(seed[name] for seed in seeds) for name in seeds[0]}
    return found


def differences(shares: Mapping[str, Shares], student: str, teacher: str | None) -> dict[str | int, float]:
    """Return student minus teacher, in points, on each class that both were asked about."""
    own, other = shares.get(student, {}), shares.get(teacher or "", {})
    return {name: 100 * (own[name] - other[name]) for name in own if name in other}


def per_class(record: RunRecord) -> Table:
    """Return the accuracy on every class, or of many classes those where it is lowest and highest."""
    shares = class_shares(record)
    classes = list(dict.fromkeys(name for own in shares.values() for name in own))
    shown = [subject for subject in subjects(record) if subject.label in shares]
    if len(classes) <= MOST_COLUMNS:
        columns = [
            Column("Model", numeric=False),
            *(Column(str(name), higher_is_better=True, intervals=False) for name in classes),
        ]
        rows = [row(subject, *(_share(shares[subject.label], name) for name in classes)) for subject in shown]
        note = "Top-1 on the test samples of each class. What they cannot tell apart is in the record, as intervals."
        return finished("Per-class accuracy", columns, rows, [note])
    heads = ("Model", "Lowest", "Highest", "Furthest below the teacher", "Furthest above")
    rows = [row(subject, *_extremes(record, shares, subject)) for subject in shown]
    notes = [
        (
            f"Top-1 on the test samples of each of {len(classes)} classes, the {_EXTREMES} most extreme; against the "
            "teacher in points. The extremes of many classes are partly chance."
        )
    ]
    return finished("Per-class accuracy", [Column(head, numeric=False) for head in heads], rows, notes)


def _share(own: Shares, name: str | int) -> Number:
    return Number(units.share, own.get(name), reason="" if name in own else "not measured")


def _extremes(record: RunRecord, shares: Mapping[str, Shares], subject: ModelGroup) -> list[Cell]:
    own = shares[subject.label]
    ranked = sorted(own, key=lambda name: own[name])
    teacher = teacher_of(record, subject)
    apart = differences(shares, subject.label, teacher)
    by_gap = sorted(apart, key=lambda name: apart[name])
    below = [name for name in by_gap if apart[name] < 0]
    above = [name for name in reversed(by_gap) if apart[name] > 0]
    shares_of = {name: f"{100 * share:.0f} %" for name, share in own.items()}
    gaps = {name: units.points(gap) for name, gap in apart.items()}
    return [
        _listed(ranked, shares_of),
        _listed(ranked[::-1], shares_of),
        _listed(below, gaps),
        _listed(above, gaps),
    ]


def _listed(names: Sequence[str | int], values: Mapping[str | int, str]) -> Text:
    return Text(", ".join(f"{name} {values[name]}" for name in names[:_EXTREMES]) or "–")
