"""Expected numbers that were not measured, each with the reason."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import Expected
from kdbench.results.findings import Failure, Findings
from kdbench.results.records import Axes, Measurement, Pair, missing

_Key = tuple[str | None, str, str, frozenset[tuple[str, str | int]]]


def with_missing(
    models: Sequence[BenchModel], expected: Iterable[Expected], findings: Findings
) -> tuple[Findings, Findings]:
    """Return the findings of a pass with the missing numbers of failed models, and the numbers of refused models.

    The findings follow the order of the axes in `expected`, because a metric's first axes are its headline. For the
    same reason the numbers of refused models belong behind all others.
    """
    by_id = {model.id: model for model in models}
    expected = list(expected)
    present = {_key(m) for m in findings.measurements} | {_key(pair) for pair in findings.pairs}
    varying = {(item.metric, item.varies) for item in expected if item.varies is not None}
    present |= {_key(m, axis) for m in findings.measurements for metric, axis in varying if m.metric == metric}
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


def _refusal(item: Expected, models: Mapping[str, BenchModel]) -> Failure | None:
    for id_ in (item.model, *item.needs):
        refusal = models[id_].refusal_in(item.runtime)
        if refusal is not None:
            status = refusal.status if id_ == item.model and item.teacher is None else "unavailable"
            reason = f"{models[id_].name} was not measured: {refusal.reason}" if item.needs else refusal.reason
            return Failure(id_, reason, status, refusal.hint)
    return None


def _failure(item: Expected, models: Mapping[str, BenchModel], failures: Sequence[Failure]) -> Failure:
    covering = [failure for failure in failures if failure.covers(item.metric, item.axes)]
    overall = next((failure for failure in covering if failure.model is None), None)
    if overall is not None:
        return overall
    for id_ in (item.model, *item.needs):
        # The most specific failure is the one with the most axes.
        failure = max((f for f in covering if f.model == id_), key=lambda f: len(f.axes), default=None)
        if failure is not None:
            status = failure.status if id_ == item.model else "unavailable"
            # A failure of particular metrics is about these numbers, not about one of the models.
            of_model = item.needs and not failure.metrics
            reason = f"{models[id_].name} failed: {failure.reason}" if of_model else failure.reason
            return replace(failure, reason=reason, status=status)
    return Failure(None, "the pass returned no number")


def _without_number(item: Expected, why: Failure) -> Findings:
    metric, axes, status, reason = item.metric, dict(item.axes), why.status, why.reason
    if item.teacher is None:
        values = (missing(item.model, metric, reason, status=status, hint=why.hint, axes=axes, source=why.source),)
        return Findings(values)
    both = {"teacher": item.teacher, "student": item.model}
    return Findings(pairs=(Pair(metric=metric, axes=axes, value=None, status=status, reason=reason, **both),))


def _key(item: Expected | Measurement | Pair, without: str | None = None) -> _Key:
    teacher = None if isinstance(item, Measurement) else item.teacher
    model = item.student if isinstance(item, Pair) else item.model
    return teacher, model, item.metric, _hashable({key: v for key, v in item.axes.items() if key != without})


def _hashable(axes: Axes) -> frozenset[tuple[str, str | int]]:
    return frozenset(axes.items())
