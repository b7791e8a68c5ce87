"""Main effects of a sweep's axes: how the score changes along one axis, averaged over the values of the others.

For each seed, the score of a point is taken as a sum of one term for each axis. On a complete grid these are the means
over all points with a value; where points are missing, the terms are those of least squares. Levels are averaged over
the seeds, whose scatter determines the intervals.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.report.model_groups import Family, Value, families
from kdbench.report.numbers import mean_over_seeds
from kdbench.report.scores import score_of
from kdbench.results.metrics import Metric
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Interval, RunRecord
from kdbench.results.records.index import once_per_record

_MAX_TERMS = 300  # of least squares

Scores = Mapping[tuple[Value, ...], float]
"""The scores of one seed by the point's values."""


@dataclass(frozen=True)
class Level:
    """A value of an axis: how many `points` have it, their `mean` score, and the `effect`, its distance from the mean.

    Both have an interval over the seeds, if there are several; the effect has the smaller one, because a seed that is
    better overall is better at all values.
    """

    value: Value
    points: int
    mean: float
    mean_interval: Interval | None
    effect: float
    effect_interval: Interval | None


@dataclass(frozen=True)
class AxisEffect:
    """The levels of an axis, and its share of the variation between points; None if the grid is incomplete."""

    axis: str
    levels: tuple[Level, ...]
    share: float | None


@dataclass(frozen=True)
class FamilyEffects:
    """The main effects of the axes of one sweep."""

    family: Family
    axes: tuple[AxisEffect, ...]


@once_per_record
def main_effects(record: RunRecord) -> tuple[FamilyEffects, ...]:
    """Return the main effects of the sweeps of two axes or more, in the record's order.

    A sweep whose points do not separate its axes, such as a search in which no value occurs twice, has none.
    """
    effects = []
    for family in families(record):
        axes = {axis: values for axis, values in family.axes.items() if len(values) > 1}
        members = [m for m in family.members if axes.keys() <= family.point(m).keys()]
        if len(axes) < 2 or len(members) <= sum(len(values) - 1 for values in axes.values()):
            continue
        by_seed = _by_seed(record, family, members, tuple(axes))
        solved = [(scores, levels) for scores in by_seed if (levels := _levels(scores, axes)) is not None]
        if solved:
            effects.append(FamilyEffects(family, _effects(solved, axes, declared(score_of(record).metric))))
    return tuple(effects)


def _by_seed(record: RunRecord, family: Family, members: Sequence[Any], axes: Sequence[str]) -> list[Scores]:
    metric = score_of(record).metric
    scores: dict[int | None, dict[tuple[Value, ...], float]] = {}
    for member in members:
        point = tuple(family.point(member)[axis] for axis in axes)
        for number, card in enumerate(member.cards):
            m = record.find(card.id, metric)
            if m is not None and m.value is not None and not m.axes:
                # Models with an offset have other seeds; the number says which seeds belong together.
                scores.setdefault(number, {})[point] = m.value
    return list(scores.values())


def _levels(scores: Scores, axes: Mapping[str, Sequence[Value]]) -> dict[str, list[float]] | None:
    """Return the mean score at each value of each axis; None if the points do not separate the axes."""
    sizes = [len(values) for values in axes.values()]
    if len(scores) == math.prod(sizes):
        return {axis: _grouped(scores, n, values) for n, (axis, values) in enumerate(axes.items())}
    return _least_squares(scores, axes) if sum(sizes) <= _MAX_TERMS else None


def _grouped(scores: Scores, n: int, values: Sequence[Value]) -> list[float]:
    by_value: dict[Value, list[float]] = {value: [] for value in values}
    for point, score in scores.items():
        by_value[point[n]].append(score)
    return [_mean(by_value[value]) for value in values]


def _least_squares(scores: Scores, axes: Mapping[str, Sequence[Value]]) -> dict[str, list[float]] | None:
    """Return the levels of an additive model; its terms add up to zero along each axis."""
    import numpy as np

    rows = []
    for point in scores:
        row = [1.0]
        for value, values in zip(point, axes.values(), strict=True):
            chosen = values.index(value)
            last = chosen == len(values) - 1
            row += [-1.0 if last else float(n == chosen) for n in range(len(values) - 1)]
        rows.append(row)
    design = np.array(rows)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    mean, *terms = np.linalg.lstsq(design, np.array(list(scores.values())), rcond=None)[0].tolist()
    levels, start = {}, 0
    for axis, values in axes.items():
        coefficients = terms[start : start + len(values) - 1]
        start += len(coefficients)
        levels[axis] = [mean + term for term in (*coefficients, -sum(coefficients))]
    return levels


def _effects(
    solved: Sequence[tuple[Scores, dict[str, list[float]]]], axes: Mapping[str, Sequence[Value]], score: Metric
) -> tuple[AxisEffect, ...]:
    all_points = {point for scores, _ in solved for point in scores}
    variation = _variation(solved, axes)
    effects = []
    for n, (axis, values) in enumerate(axes.items()):
        counts: dict[Value, int] = {}
        for point in all_points:
            counts[point[n]] = counts.get(point[n], 0) + 1
        levels = []
        for position, value in enumerate(values):
            means = [levels_by_axis[axis][position] for _, levels_by_axis in solved]
            shifts = [by_axis[axis][position] - _mean(by_axis[axis]) for _, by_axis in solved]
            levels.append(
                Level(
                    value,
                    counts.get(value, 0),
                    *_over_seeds(means, score.value_range),
                    *_over_seeds(shifts, score.difference_range),
                )
            )
        share = None
        if variation:
            share = sum(level.effect**2 for level in levels) / len(levels) / variation
        effects.append(AxisEffect(axis, tuple(levels), share))
    return tuple(effects)


def _variation(
    solved: Sequence[tuple[Scores, dict[str, list[float]]]], axes: Mapping[str, Sequence[Value]]
) -> float | None:
    """Return the variance between points of the mean over seeds, on a complete grid; else None."""
    complete = math.prod(len(values) for values in axes.values())
    if any(len(scores) != complete for scores, _ in solved):
        return None
    means = [_mean([scores[point] for scores, _ in solved]) for point in solved[0][0]]
    middle = _mean(means)
    return _mean([(value - middle) ** 2 for value in means])


def _over_seeds(values: Sequence[float], possible: tuple[float, float]) -> tuple[float, Interval | None]:
    return mean_over_seeds([(value, None) for value in values], possible) if len(values) > 1 else (values[0], None)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
