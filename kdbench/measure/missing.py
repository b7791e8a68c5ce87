"""What is missing: expected numbers that were not measured, each with the reason."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import Expected
from kdbench.results.findings import Failure, Findings
from kdbench.results.records import Axes, Measurement, Pair, Status, missing

_Key = tuple[str | None, str, str, frozenset[tuple[str, str | int]]]


class _Absence(NamedTuple):
    reason: str
    hint: str | None
    status: Status
    source: str | None = None


def with_missing(
    models: Sequence[BenchModel], expected: Iterable[Expected], findings: Findings
) -> tuple[Findings, Findings]:
    """Return the findings of a pass with the numbers of models that failed, and the numbers of those refused before.

    The former are in the order of the axes in `expected`, because a metric's first axes are its headline; for the same
    reason the latter belong behind everything that was measured.
    """
    by_id = {model.id: model for model in models}
    expected = list(expected)
    present = {_key(m) for m in findings.measurements} | {_key(pair) for pair in findings.pairs}
    present |= {_key(m, without=axis) for m in findings.measurements for axis in _varying(expected, m.metric)}
    failed, refused = Findings(), Findings()
    for item in (item for item in expected if _key(item) not in present):
        refusal = _refusal(item, by_id)
        if refusal is not None:
            refused += _without_number(item, refusal)
        else:
            failed += _without_number(item, _failure(item, by_id, findings.failures))
    order = {axes: number for number, axes in enumerate(dict.fromkeys(_hashable(item.axes) for item in expected))}
    findings += failed
    if failed.measurements or failed.pairs:
        findings = findings.sorted(lambda m: order.get(_hashable(m.axes), len(order)))
    return findings, refused


def _refusal(item: Expected, models: Mapping[str, BenchModel]) -> _Absence | None:
    for id_ in (item.model, *item.needs):
        refusal = models[id_].refusal_in(item.runtime)
        if refusal is not None:
            status = refusal.status if id_ == item.model and item.teacher is None else "unavailable"
            reason = f"{models[id_].name} was not measured: {refusal.reason}" if item.needs else refusal.reason
            return _Absence(reason, refusal.hint, status)
    return None


def _failure(item: Expected, models: Mapping[str, BenchModel], failures: Sequence[Failure]) -> _Absence:
    for failure in failures:
        if failure.model is None and failure.covers(item.metric, item.axes):
            return _Absence(failure.reason, failure.hint, failure.status)
    for id_ in (item.model, *item.needs):
        covering = [f for f in failures if f.model == id_ and f.covers(item.metric, item.axes)]
        if covering:
            failure = max(covering, key=lambda f: len(f.axes))  # the most specific one
            status = failure.status if id_ == item.model else "unavailable"
            # A failure of particular metrics is about these numbers, not about one of the models.
            reason = (
                f"{models[id_].name} failed: {failure.reason}" if item.needs and not failure.metrics else failure.reason
            )
            return _Absence(reason, failure.hint, status, failure.source)
    return _Absence("the pass returned no number", None, "error")


def _without_number(item: Expected, absence: _Absence) -> Findings:
    reason, hint, status, source = absence
    if item.teacher is None:
        values = {"status": status, "hint": hint, "axes": item.axes, "source": source}
        return Findings((missing(item.model, item.metric, reason, **values),))  # type: ignore[arg-type]
    pair = Pair(
        metric=item.metric,
        teacher=item.teacher,
        student=item.model,
        axes=dict(item.axes),
        value=None,
        status=status,
        reason=reason,
    )
    return Findings(pairs=(pair,))


def _key(item: Expected | Measurement | Pair, without: str | None = None) -> _Key:
    teacher = None if isinstance(item, Measurement) else item.teacher
    model = item.student if isinstance(item, Pair) else item.model
    return teacher, model, item.metric, _hashable({key: v for key, v in item.axes.items() if key != without})


def _hashable(axes: Axes) -> frozenset[tuple[str, str | int]]:
    return frozenset(axes.items())


def _varying(expected: Sequence[Expected], metric: str) -> set[str]:
    return {item.varies for item in expected if item.metric == metric and item.varies is not None}
