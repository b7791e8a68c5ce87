"""Which number of a record a limit is checked against: a model's own, or its comparison with the teacher.

A number counts only at the axes that the limit asks for. An axis that neither names has its usual value: batch 1, calls
back to back, onnxruntime, the test set. A number of one class, of training images or of another batch never stands for
the whole.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from kdbench.judge.criteria import Limit
from kdbench.judge.device import USUAL_RUNTIME, Device
from kdbench.judge.limits import EVIDENCE_STRENGTH, Reading, as_reading
from kdbench.results.cards import ModelCard
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Axes, Interval, Measurement, Pair, RunRecord

F = TypeVar("F", Measurement, Pair)

_NO_TEACHER = "it is compared with no other model"
_NAME_ONE = "measure it beside its teacher: `kdbench bench TEACHER STUDENT`"

# What an axis is where a finding does not name it.
_IMPLIED: Mapping[str, str | int] = {"mode": "stream", "runtime": USUAL_RUNTIME, "part": "test"}
# Axes that may have any value where the limit does not name them.
_FREE = ("threads", "provider", "gap_ms", "rate_per_s")
_MOST_SHOWN = 3  # other axes that a reason names


def read(record: RunRecord, card: ModelCard, limit: Limit, device: Device) -> Reading:
    """Return the number of one model that `limit` is checked against; without a number, the reason why."""
    if limit.rule in {"max", "min"} and limit.pair is None:
        return _of_model(record, card.id, limit, device)
    teacher = teacher_of(record, card)
    if teacher is None:
        return Reading(limit.checked_metric, None, status="unavailable", reason=_NO_TEACHER, hint=_NAME_ONE)
    if limit.pair is not None:
        pairs = [p for p in record.pairs if (p.teacher, p.student, p.metric) == (teacher, card.id, limit.pair)]
        return _select(pairs, limit.pair, limit, device)
    both = (_of_model(record, teacher, limit, device), _of_model(record, card.id, limit, device))
    return (_drop if limit.rule == "max_drop_vs_teacher" else _ratio)(limit, *both)


def teacher_of(record: RunRecord, card: ModelCard) -> str | None:
    """Return the id of the model that a model is compared with, or None."""
    measured = (pair.teacher for pair in record.pairs if pair.student == card.id)
    return next((id_ for id_ in (*measured, *card.parents) if id_ in record.cards), None)


def _of_model(record: RunRecord, model: str, limit: Limit, device: Device) -> Reading:
    measurements = [m for m in record.measurements if m.model == model and m.metric == limit.metric]
    return _select(measurements, limit.metric, limit, device)


def _select(findings: list[F], metric: str, limit: Limit, device: Device) -> Reading:
    """Return the finding at the axes of `limit`, unnamed ones being as usual.

    Of several, which differ in free axes, it is the one with the fewest threads: the headline of a report.
    """
    wanted = {**_usual_axes(metric, device), **limit.axes}
    fitting = [finding for finding in findings if _fits(finding, limit.axes, wanted)]
    if not fitting:
        return _missing(limit, *_not_measured_there(findings, limit.axes, wanted))
    return as_reading(min(fitting, key=lambda finding: int(finding.axes.get("threads", 0))))


def _usual_axes(metric: str, device: Device) -> dict[str, str | int]:
    of = declared(metric)
    if not of.hardware_dependent:
        return dict(_IMPLIED)
    # The largest throughput has a mode of its own, and any batch.
    axes: dict[str, str | int] = {"mode": "offline"} if of.group == "offline" else {"batch": 1}
    provider = {} if device.provider is None else {"provider": device.provider}
    return {**_IMPLIED, "runtime": device.runtime or USUAL_RUNTIME, **axes, **provider}


def _fits(finding: Measurement | Pair, named: Axes, wanted: Axes) -> bool:
    if not finding.axes and finding.value is None:
        return True  # it could not be measured at any axes, and says why
    if any(axis not in _FREE for axis in finding.axes.keys() - wanted.keys()):
        return False
    # A merely usual axis, such as batch 1, need not match where a finding has no such axis, such as a training time.
    relevant = {axis for axis in wanted if axis in finding.axes or axis in named or axis in _IMPLIED}
    return all(str(finding.axes.get(axis, _IMPLIED.get(axis))) == str(wanted[axis]) for axis in relevant)


def _not_measured_there(findings: Iterable[F], named: Axes, wanted: Axes) -> tuple[str, str]:
    """Return why no finding fits, with the axes at which there are numbers instead, and what to do about it."""
    others = [_deviating(finding.axes, wanted) for finding in findings if finding.value is not None]
    if not others:
        return "not measured", "measure it: the run has no number of this kind"
    missed = {axis: wanted[axis] for axes in others for axis in axes if axis in wanted}
    elsewhere = list(dict.fromkeys(_at(axes) for axes in others))
    more = f" and {len(elsewhere) - _MOST_SHOWN} more" if len(elsewhere) > _MOST_SHOWN else ""
    reason = f"not measured {_at(missed or named)}, but {', '.join(elsewhere[:_MOST_SHOWN])}{more}"
    return reason, "measure it there, or name other axes in the target"


def _deviating(axes: Axes, wanted: Axes) -> dict[str, str | int]:
    """Return the axes that keep a finding from fitting."""
    return {
        axis: value for axis, value in axes.items() if (wanted[axis] != value if axis in wanted else axis not in _FREE)
    }


def _at(axes: Axes) -> str:
    return "at " + ", ".join(f"{axis} {value}" for axis, value in axes.items()) if axes else "as a whole"


def _missing(limit: Limit, reason: str, hint: str) -> Reading:
    return Reading(limit.checked_metric, None, status="unavailable", reason=reason, hint=hint, axes=limit.axes)


def _drop(limit: Limit, teacher: Reading, student: Reading) -> Reading:
    """Return teacher minus student, in percentage points, within [t.low - s.high, t.high - s.low].

    The record does not pair the two sample by sample. The standard deviation of a difference is at most the sum of
    both, so these bounds hold their level however the two depend on each other; those of a paired difference, such as
    top1_drop, are narrower.
    """
    return _combined(limit, teacher, student, lambda t, s: 100 * (t - s), _bounds_of_drop)


def _bounds_of_drop(teacher: Interval, student: Interval) -> Interval:
    low, high = 100 * (teacher.low - student.high), 100 * (teacher.high - student.low)
    return Interval(low=low, high=high, level=min(teacher.level, student.level))


def _ratio(limit: Limit, teacher: Reading, student: Reading) -> Reading:
    """Return teacher over student, of counted numbers."""
    if student.value == 0:
        return _missing(limit, f"{limit.metric} is 0", "")
    return _combined(limit, teacher, student, lambda t, s: t / s)


def _combined(
    limit: Limit,
    teacher: Reading,
    student: Reading,
    of_values: Callable[[float, float], float],
    of_intervals: Callable[[Interval, Interval], Interval] | None = None,
) -> Reading:
    """Combine two readings; where one has no number, return its reason."""
    for who, reading in (("the teacher", teacher), ("the student", student)):
        if reading.value is None or reading.status != "ok":
            return _missing(limit, f"{who}: {reading.reason or reading.status}", reading.hint)
    assert teacher.value is not None
    assert student.value is not None
    interval = None
    if of_intervals is not None and teacher.interval is not None and student.interval is not None:
        interval = of_intervals(teacher.interval, student.interval)
    return Reading(
        limit.checked_metric,
        of_values(teacher.value, student.value),
        interval,
        n=min((n for n in (teacher.n, student.n) if n is not None), default=None),
        evidence=min(teacher.evidence, student.evidence, key=EVIDENCE_STRENGTH.__getitem__),
        axes=student.axes,
    )
