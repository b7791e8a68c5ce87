"""A model compared with its reference in words: its savings and its losses."""

from collections.abc import Iterator
from typing import Literal

from kdbench import units
from kdbench.report.axes import headline
from kdbench.report.cells import Number, shortened
from kdbench.report.model_groups import ModelGroup, is_timed, teacher_of
from kdbench.report.numbers import number
from kdbench.report.scores import ERROR, score_of
from kdbench.report.tables.energy import energy_ratio
from kdbench.results.metrics import metric as declared
from kdbench.results.records import RunRecord

Side = Literal["better", "worse", "unclear"]


def trade_off(record: RunRecord, group: ModelGroup) -> str:
    """Return "`a` is 5.10× smaller and 1.90× faster than `b` for 0.30 points [0.10, 0.50]."; empty if nothing is known.

    `b` is the model that `group` was compared with. A difference whose interval includes zero is called "not
    measurable". The negative flips of a classification follow.
    """
    model, reference, costs = f"`{group.label}`", f"`{teacher_of(record, group)}`", list(_costs(record, group))
    score = number(record, group, score_of(record).against_teacher)
    if not costs and score.value is None:
        return ""
    price, change = _error(score) if score_of(record) is ERROR else _accuracy(score)
    if not costs:
        return f"{model} {change} against {reference}.{_flips(record, group)}"
    gains, losses, unclear = ([text for s, text in costs if s == side] for side in ("better", "worse", "unclear"))
    # Differences that are not measurable follow the gains, or the losses if there are none.
    parts = [[*gains, *unclear], losses] if gains else [[*losses, *unclear]]
    compared = f"is {' but '.join(_listed(part) for part in parts if part)} than {reference}"
    end = f"for {price}" if gains and price else f"and {change}"
    return f"{model} {compared} {end}.{_flips(record, group)}"


def _listed(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def side_of(metric: str, comparison: Number) -> Side:
    """Return whether a ratio or drop shows that a model is better or worse than its reference."""
    equal, interval = 0.0 if declared(metric).unit == "points" else 1.0, comparison.interval
    if comparison.value is None or interval is None or interval.low <= equal <= interval.high:
        return "unclear"
    return "better" if (comparison.value > equal) == declared(metric).higher_is_better else "worse"


def _costs(record: RunRecord, group: ModelGroup) -> Iterator[tuple[Side, str]]:
    """Yield how a model differs from its reference in size, latency and measured energy, if that is known."""
    size = number(record, group, "size_ratio")
    if size.value is not None and size.text != size.write(1.0):
        yield "better" if size.value > 1 else "worse", _times(size.value, "smaller", "larger")
    speed = number(record, group, "latency_ratio", headline(record))
    if is_timed(record) and speed.interval is not None:
        yield _sampled("latency_ratio", speed, "faster", "slower")
    energy = energy_ratio(record, group)
    if energy.evidence == "measured" and energy.interval is not None:
        yield _sampled("energy_ratio", energy, "more energy-efficient", "less energy-efficient")


def _sampled(metric: str, ratio: Number, more: str, less: str) -> tuple[Side, str]:
    assert ratio.value is not None
    side = side_of(metric, ratio)
    return side, f"not measurably {more} or {less}" if side == "unclear" else _times(ratio.value, more, less)


def _times(ratio: float, more: str, less: str) -> str:
    """Write a ratio of reference to model as a factor of at least 1: `5.10× smaller`, `1.20× larger`."""
    return f"{units.ratio(max(ratio, 1 / ratio))} {more if ratio > 1 else less}"


def _accuracy(drop: Number) -> tuple[str, str]:
    """Return what a loss costs, empty if none is shown, and what happens to the accuracy."""
    if drop.value is None:
        return "", f"its accuracy was not compared ({shortened(drop.reason)})"
    if drop.interval is None:
        return "", f"has a top-1 drop of {drop.text} points, without an interval"
    side = side_of("top1_drop", drop)
    if side == "unclear":
        return "", f"has no measurable difference in accuracy (drop {drop.with_interval} points)"
    ends = sorted(abs(bound) for bound in (drop.interval.low, drop.interval.high))
    low, value, high = (units.fixed(points, 2) for points in (ends[0], abs(drop.value), ends[1]))
    points = f"{value} points [{low}, {high}]"
    return (points, f"loses {points}") if side == "worse" else ("", f"gains {points}")


def _error(ratio: Number) -> tuple[str, str]:
    """Return the same as `_accuracy` for the RMSE of a regression."""
    if ratio.value is None:
        return "", f"its RMSE was not compared ({shortened(ratio.reason)})"
    if ratio.interval is None:
        return "", f"has an RMSE ratio of {ratio.text}, without an interval"
    side = side_of("rmse_ratio", ratio)
    if side == "unclear":
        return "", f"has no measurable difference in RMSE (ratio {ratio.with_interval})"
    if side == "better":
        return "", f"has an RMSE {ratio.text} smaller {ratio.interval_text}".rstrip()
    larger = ratio.mapped(lambda value: 1 / value, units.ratio)
    price = f"an RMSE {larger.text} as large {larger.interval_text}".rstrip()
    return price, f"has {price}"


def _flips(record: RunRecord, group: ModelGroup) -> str:
    """Return a sentence on the samples that turn from right to wrong; empty if that is not known."""
    flips = number(record, group, "negative_flips")
    if flips.value is None or flips.interval is None:
        return ""
    if not flips.value:
        return f" No test sample turns from right to wrong (at most {flips.write(flips.interval.high)})."
    return f" {flips.with_interval} of the test samples turn from right to wrong."
