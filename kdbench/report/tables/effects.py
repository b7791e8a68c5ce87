"""The main effects of a sweep's axes: the score at each value, averaged over the values of the other axes."""

from collections.abc import Iterator

from kdbench import units
from kdbench.report.cells import Number, Text
from kdbench.report.effects import AxisEffect, FamilyEffects, Level, main_effects
from kdbench.report.scores import score_of
from kdbench.report.table import Column, Row, Table, finished
from kdbench.results.metrics import metric
from kdbench.results.records import Interval, RunRecord


def effects(record: RunRecord) -> Table:
    """Return the mean score at each value of each axis, and how far it is from the axis's mean."""
    declared, families = metric(score_of(record).metric), main_effects(record)
    columns = [
        *(Column(head, numeric=False) for head in ("Sweep", "Axis", "Value")),
        Column("Points"),
        Column(f"{declared.title}, mean over the points", declared.higher_is_better, unit=declared.unit),
        Column(f"Effect{' (points)' if declared.in_points else ''}"),
    ]
    rows = [row for family in families for row in _rows(family, record)]
    return finished("Along each axis", columns, rows, _notes(families))


def _rows(family: FamilyEffects, record: RunRecord) -> Iterator[Row]:
    for effect in family.axes:
        for level in effect.levels:
            yield Row(_cells(family, effect, level, record), ranking=(family.family.name, effect.axis))


def _cells(family: FamilyEffects, effect: AxisEffect, level: Level, record: RunRecord) -> tuple[Text | Number, ...]:
    declared = metric(score_of(record).metric)
    factor, write = declared.to_points, units.points if declared.in_points else declared.text
    shift = Number(write, factor * level.effect, _scaled(level.effect_interval, factor))
    mean = Number(declared.text, level.mean, level.mean_interval, plus_minus=declared.plus_minus)
    words = (Text(family.family.name, code=True), Text(effect.axis), Text(str(level.value)))
    return (*words, Number(units.count, level.points), mean, shift)


def _scaled(interval: Interval | None, factor: float) -> Interval | None:
    if interval is None:
        return None
    return Interval(low=factor * interval.low, high=factor * interval.high, level=interval.level)


def _notes(families: tuple[FamilyEffects, ...]) -> list[str]:
    if not families:
        return []
    notes = [
        (
            "The mean for a value is over all points with it, with equal weights for the values of other axes. The "
            "effect is its difference from the mean over the axis. Intervals are Student-t intervals over the seeds: "
            "they cover how trainings differ on this test set. With one seed there are none."
        )
    ]
    for family in families:
        shares = [f"{effect.axis} {100 * effect.share:.0f} %" for effect in family.axes if effect.share is not None]
        rest = 1 - sum(effect.share or 0.0 for effect in family.axes)
        if shares:
            notes.append(
                f"Of the variation between the points of `{family.family.name}`: {', '.join(shares)}, and "
                f"{100 * max(rest, 0):.0f} % from interactions of axes, and from chance."
            )
    return notes
