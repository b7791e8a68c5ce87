"""Which number of a record a limit is checked against: a model's, or its comparison with the teacher.

A number counts only at the limit's axes. An axis that neither names has its usual value: batch 1, calls back to back,
onnxruntime, the test set. A number of one class, of training images or of another batch does not count for the model.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from kdbench.judge.criteria import Limit
from kdbench.judge.device import Device
from kdbench.judge.limits import EVIDENCE_STRENGTH, RELIABLE, Reading, as_reading
from kdbench.results.cards import ModelCard, teacher_behind
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Axes, Interval, Measurement, Pair, RunRecord
from kdbench.results.runtimes import USUAL_RUNTIME

F = TypeVar("F", Measurement, Pair)

# What an axis is where a finding does not name it.
IMPLIED: Mapping[str, str | int] = {"mode": "stream", "runtime": USUAL_RUNTIME, "part": "test"}
# Axes that may have any value where the limit does not name them.
_FREE = ("threads", "provider", "gap_ms", "rate_per_s")
_VS_TEACHER = {"max_drop_vs_teacher", "min_ratio_vs_teacher"}
_MAX_SHOWN = 3  # other axes that a reason names


def read(record: RunRecord, card: ModelCard, limit: Limit, device: Device) -> Reading:
    """Return the number of one model that `limit` is checked against; without a number, the reason why."""
    if limit.rule in {"max", "min"} and limit.pair is None:
        return _model_reading(record, card.id, limit, device)
    teacher = _compared_with(limit, record, card)
    if teacher is None:
        hint = "measure it together with its teacher: `kdbench bench TEACHER STUDENT`"
        return _missing(limit, "the run compares it with no other model", hint)
    if limit.pair is not None:
        pairs = [pair for pair in record.pair_index.of(card.id, limit.pair) if pair.teacher == teacher]
        reading = _select(pairs, limit.pair, limit, device)
        missing = reading.value is None and reading.status == "unavailable" and reading.metric.scored
        return _with_hint(reading, card) if missing and all(pair.value is None for pair in pairs) else reading
    return _relative(
        limit, _model_reading(record, teacher, limit, device), _model_reading(record, card.id, limit, device)
    )


def _compared_with(limit: Limit, record: RunRecord, card: ModelCard) -> str | None:
    """Return the id of the model that a relative limit compares a model with, or None.

    A limit `…_vs_teacher` compares with the teacher, even for a compressed variant, whose pairs compare it with the
    model that it was made from. Every other limit uses the pairs.
    """
    behind = teacher_behind(card, record.cards) if limit.rule in _VS_TEACHER else None
    return behind or teacher_of(record, card)


def teacher_of(record: RunRecord, card: ModelCard) -> str | None:
    """Return the id of the model that a model is compared with, or None."""
    measured = (pair.teacher for pair in record.pair_index.for_model(card.id))
    return next((id_ for id_ in (*measured, *card.parents) if id_ in record.cards), None)


def _model_reading(record: RunRecord, model: str, limit: Limit, device: Device) -> Reading:
    return _select(list(record.measurement_index.of(model, limit.metric)), limit.metric, limit, device)


def _with_hint(reading: Reading, card: ModelCard) -> Reading:
    """Add to a missing comparison of predictions the hint how to measure it, or which metric to limit instead."""
    scored_as_error = reading.metric.group == "errors"
    if bool(card.targets) != scored_as_error:
        task, instead = ("regression", "rmse") if card.targets else ("classification", "top1")
        return replace(reading, reason=f"a {task} has no {reading.metric.id}", hint=f"limit {instead} instead")
    hint = "measure both models on labelled test data in one run: `kdbench bench TEACHER STUDENT --data NAME`"
    return replace(reading, hint=hint)


def _select(findings: list[F], metric: str, limit: Limit, device: Device) -> Reading:
    """Return the finding at the axes of `limit`, and at the usual values of other axes.

    If several differ in free axes, it is the one with the fewest threads: the headline of a report.
    """
    named = dict(limit.axes)
    if not declared(metric).hardware_dependent and not any("batch" in finding.axes for finding in findings):
        named.pop("batch", None)  # its outputs are the same at every batch
    required = {**_usual_axes(metric, device), **_scoring_runtime(findings, device), **named}
    fitting = [finding for finding in findings if _fits(finding, named, required)]
    if not fitting:
        return _missing(limit, *_not_measured_there(findings, named, required))
    return as_reading(min(fitting, key=lambda finding: int(finding.axes.get("threads", 0))))


def _scoring_runtime(findings: Iterable[Measurement | Pair], device: Device) -> dict[str, str]:
    """Return the axis `runtime` if predictions were scored in the device's runtime; else no axis."""
    scored = device.runtime is not None and any(f.axes.get("runtime") == device.runtime for f in findings)
    return {"runtime": device.runtime or ""} if scored else {}


def _usual_axes(metric: str, device: Device) -> dict[str, str | int]:
    if not declared(metric).hardware_dependent:
        return dict(IMPLIED)
    # The largest throughput has a mode of its own, and any batch.
    axes: dict[str, str | int] = {"mode": "offline"} if declared(metric).group == "offline" else {"batch": 1}
    provider = {} if device.provider is None else {"provider": device.provider}
    return {**IMPLIED, "runtime": device.runtime or USUAL_RUNTIME, **axes, **provider}


def _fits(finding: Measurement | Pair, named: Axes, required: Axes) -> bool:
    if not finding.axes and finding.value is None:
        return True  # it could not be measured at any axes, and says why
    free = (*_FREE, declared(finding.metric).finds)
    if any(axis not in free for axis in finding.axes.keys() - required.keys()):
        return False
    # A merely usual axis, such as batch 1, need not match where a finding has no such axis, such as a training time.
    relevant = {axis for axis in required if axis in finding.axes or axis in named or axis in IMPLIED}
    return all(str(finding.axes.get(axis, IMPLIED.get(axis))) == str(required[axis]) for axis in relevant)


def _not_measured_there(findings: Iterable[F], named: Axes, required: Axes) -> tuple[str, str]:
    """Return why no finding fits, with the axes at which there are numbers instead, and what to do about it."""
    others = [_deviating(finding.axes, required) for finding in findings if finding.value is not None]
    if not others:
        return "not measured", "measure it: the run has no such number"
    missed = {axis: required[axis] for axes in others for axis in axes if axis in required}
    elsewhere = list(dict.fromkeys(_at(axes) for axes in others))
    more = f" and {len(elsewhere) - _MAX_SHOWN} more" if len(elsewhere) > _MAX_SHOWN else ""
    reason = f"not measured {_at(missed or named)}, but {', '.join(elsewhere[:_MAX_SHOWN])}{more}"
    return reason, "measure it there, or name other axes in the target"


def _deviating(axes: Axes, required: Axes) -> dict[str, str | int]:
    known = {axis: required.get(axis, value if axis in _FREE else None) for axis, value in axes.items()}
    return {axis: value for axis, value in axes.items() if value != known[axis]}


def _at(axes: Axes) -> str:
    return "at " + ", ".join(f"{axis} {value}" for axis, value in axes.items()) if axes else "as a whole"


def _missing(limit: Limit, reason: str, hint: str) -> Reading:
    return Reading(limit.checked_metric, None, status="unavailable", reason=reason, hint=hint, axes=limit.axes)


def _relative(limit: Limit, teacher: Reading, student: Reading) -> Reading:
    """Return teacher over student, of counted numbers, or teacher minus student, in percentage points.

    A difference lies within [t.low - s.high, t.high - s.low]: the record does not pair the two sample by sample. The
    standard deviation of a difference is at most the sum of both, so these bounds hold their level however the two
    depend on each other. The bounds of a paired difference, such as top1_drop, are narrower.
    """
    is_drop = limit.rule == "max_drop_vs_teacher"
    if student.value == 0 and not is_drop:
        return _missing(limit, f"{limit.metric} is 0", "")
    for model, reading in (("the teacher", teacher), ("the student", student)):
        if reading.value is None or reading.status not in RELIABLE:
            return _missing(limit, f"{model}: {reading.reason or reading.status}", reading.hint)
    assert teacher.value is not None
    assert student.value is not None
    interval = None
    if is_drop and (t := teacher.interval) is not None and (s := student.interval) is not None:
        interval = Interval(low=100 * (t.low - s.high), high=100 * (t.high - s.low), level=min(t.level, s.level))
    return Reading(
        limit.checked_metric,
        100 * (teacher.value - student.value) if is_drop else teacher.value / student.value,
        interval,
        n=min((n for n in (teacher.n, student.n) if n is not None), default=None),
        evidence=min(teacher.evidence, student.evidence, key=EVIDENCE_STRENGTH.__getitem__),
        axes=student.axes,
    )
