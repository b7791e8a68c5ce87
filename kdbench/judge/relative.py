"""A student against its teacher: what the run measured of the pair, or else the two models' own numbers."""

from collections.abc import Callable

from kdbench.judge.bounds import STRENGTH, Reading, reading
from kdbench.judge.criteria import Limit
from kdbench.judge.device import Device
from kdbench.judge.selecting import answering, nowhere, usual_axes
from kdbench.results.cards import ModelCard
from kdbench.results.records import Interval, RunRecord

_NO_TEACHER = "it is compared with no other model"
_NAME_ONE = "measure it beside its teacher: `kdbench bench TEACHER STUDENT`"


def read(record: RunRecord, card: ModelCard, limit: Limit, device: Device) -> Reading:
    """Return what of the record a limit is held against, for one model; without a number, the reason why."""
    if limit.rule in {"max", "min"} and limit.pair is None:
        return own(record, card.id, limit, device)
    teacher = teacher_of(record, card)
    if teacher is None:
        return Reading(limit.held_against, None, status="unavailable", reason=_NO_TEACHER, hint=_NAME_ONE)
    if limit.pair is not None:
        return _of_pair(record, teacher, card.id, limit, device)
    of_both = (own(record, teacher, limit, device), own(record, card.id, limit, device))
    return (_drop if limit.rule == "max_drop_vs_teacher" else _ratio)(limit, *of_both)


def teacher_of(record: RunRecord, card: ModelCard) -> str | None:
    """Return the id of the model that a model is compared with, or None."""
    measured = (pair.teacher for pair in record.pairs if pair.student == card.id)
    return next((id_ for id_ in (*measured, *card.parents) if id_ in record.cards), None)


def own(record: RunRecord, model: str, limit: Limit, device: Device) -> Reading:
    """Return a model's own number of the limit's metric."""
    findings = [m for m in record.measurements if m.model == model and m.metric == limit.metric]
    usual = usual_axes(limit.metric, device)
    found = answering(findings, limit.axes, usual)
    return reading(found) if found is not None else _missing(limit, *nowhere(findings, limit.axes, usual))


def _of_pair(record: RunRecord, teacher: str, student: str, limit: Limit, device: Device) -> Reading:
    assert limit.pair is not None
    findings = [p for p in record.pairs if (p.teacher, p.student, p.metric) == (teacher, student, limit.pair)]
    usual = usual_axes(limit.pair, device)
    found = answering(findings, limit.axes, usual)
    return reading(found) if found is not None else _missing(limit, *nowhere(findings, limit.axes, usual))


def _missing(limit: Limit, reason: str, hint: str) -> Reading:
    return Reading(limit.held_against, None, status="unavailable", reason=reason, hint=hint, axes=limit.axes)


def _drop(limit: Limit, teacher: Reading, student: Reading) -> Reading:
    """Return teacher minus student, in percentage points, within [t.low - s.high, t.high - s.low].

    What each sample got was not kept, and with it the pairing. The standard deviation of a difference is at most the
    sum of both, so that these bounds hold their level however the two depend on each other; those of a paired
    difference, such as top1_drop, are narrower.
    """
    return _combined(limit, teacher, student, lambda t, s: 100 * (t - s), _drop_within)


def _drop_within(teacher: Interval, student: Interval) -> Interval:
    low, high = 100 * (teacher.low - student.high), 100 * (teacher.high - student.low)
    return Interval(low=low, high=high, level=min(teacher.level, student.level))


def _ratio(limit: Limit, teacher: Reading, student: Reading) -> Reading:
    """Return teacher over student, of numbers that are counted."""
    if student.value == 0:
        return _missing(limit, f"{limit.metric} is 0", "")
    return _combined(limit, teacher, student, lambda t, s: t / s)


def _combined(
    limit: Limit,
    teacher: Reading,
    student: Reading,
    of_values: Callable[[float, float], float],
    within: Callable[[Interval, Interval], Interval] | None = None,
) -> Reading:
    """Return the reading of two readings, or the reason that one of them has for not having a number."""
    for who, one in (("the teacher", teacher), ("the student", student)):
        if one.value is None or one.status != "ok":
            return _missing(limit, f"{who}: {one.reason or one.status}", one.hint)
    assert teacher.value is not None
    assert student.value is not None
    interval = None
    if within is not None and teacher.interval is not None and student.interval is not None:
        interval = within(teacher.interval, student.interval)
    return Reading(
        limit.held_against,
        of_values(teacher.value, student.value),
        interval,
        n=min((n for n in (teacher.n, student.n) if n is not None), default=None),
        evidence=min(teacher.evidence, student.evidence, key=STRENGTH.__getitem__),
        axes=student.axes,
    )
