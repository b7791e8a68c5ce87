"""What a figure shows of many models, as many as can be distinguished, and of a long curve."""

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

from kdbench.report.figures.drawing import COLOURS, DASHES
from kdbench.report.model_groups import ModelGroup, model_groups
from kdbench.report.tables.planes import planes
from kdbench.results.records import RunRecord
from kdbench.results.records.index import once_per_record

MAX_CURVES = len(COLOURS) * len(DASHES)
"""Models that differ in colour or dashes."""

FEW_CURVES = MAX_CURVES // 2
"""The number of models that are easy to distinguish: this many are shown if there are too many for all."""

MAX_ROWS = 40
"""The number of models that each have a row in a figure of about a page."""

MAX_POINTS = 300
"""The number of points of a curve; a panel is about 300 points of print wide."""

_T = TypeVar("_T")


@once_per_record
def drawn_order(record: RunRecord) -> list[ModelGroup]:
    """Return the models in the order in which figures show them; a model's place decides on its look.

    Up to `MAX_CURVES` of them keep the tables' order. Of more, `FEW_CURVES` come first: teachers, up to half of these
    places, models on the Pareto front of score and latency, further teachers, then the first ones of the tables.
    """
    groups = model_groups(record)
    if len(groups) <= MAX_CURVES:
        return groups
    latency = planes(record).get("latency")
    on_front = latency.front if latency is not None else set()
    teachers = sorted(
        (group for group in groups if group.role == "teacher"), key=lambda group: group.label not in on_front
    )
    foremost = {group.ids for group in teachers[: FEW_CURVES // 2]}
    by_rank = sorted(
        groups, key=lambda group: (group.ids not in foremost, group.label not in on_front, group.role != "teacher")
    )
    first = {group.ids for group in by_rank[:FEW_CURVES]}
    return sorted(groups, key=lambda group: group.ids not in first)


def curves_of(items: Iterable[_T]) -> tuple[list[_T], str]:
    """Return the models in `drawn_order` that a figure has curves for, and its caption's sentence about the others."""
    return limited(items, MAX_CURVES, FEW_CURVES)


def limited(items: Iterable[_T], most: int, few: int) -> tuple[list[_T], str]:
    """Return all models of a figure, or the first `few` of more than `most`; and the caption about the rest."""
    models = list(items)
    if len(models) <= most:
        return models, ""
    return models[:few], f" {few} of {len(models)} models are shown; `record.json` has all."


def drawn_points(values: Sequence[float], most: int = MAX_POINTS) -> list[int]:
    """Return the indices, at most `most` of them, between which lines look like the curve of all `values`.

    They are the first and the last one, and the smallest and the largest one of each of equal parts.
    """
    count, parts = len(values), most // 2 - 1
    if count <= most:
        return list(range(count))
    ends = [count * part // parts for part in range(parts + 1)]
    within = [range(begin, end) for begin, end in itertools.pairwise(ends)]
    extremes = (extreme(part, key=values.__getitem__) for part in within for extreme in (min, max))
    return sorted({0, count - 1, *extremes})
