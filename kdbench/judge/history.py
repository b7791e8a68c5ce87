"""One metric over the records of a folder: its series, and the steps in each."""

import math
from collections.abc import Iterator, Sequence

from kdbench.errors import InputError
from kdbench.judge.located_records import LocatedRecord
from kdbench.judge.series import Finding, SeriesKey, SeriesLabels, model_of
from kdbench.registry import suggestion
from kdbench.results import metrics as declared
from kdbench.results.histories import Change, History, Level, Point, Series
from kdbench.results.metrics import METRICS, PAIR_METRICS
from kdbench.results.records import Axes, Interval, RunRecord

MAIN = ("top1", "latency_p50_ns", "latency_ratio", "size_bytes")
"""The metrics shown by default."""


def history(
    records: Sequence[LocatedRecord],
    metrics: Sequence[str] = (),
    models: Sequence[str] = (),
    axes: Axes | None = None,
    notes: Sequence[str] = (),
) -> History:
    """Return the series of `metrics` over records, oldest first.

    Without `metrics`, those of `MAIN` that the records have. `models` are names or ids. With `axes`, every series whose
    axes include them; without, each model's at the fewest axes, the smallest batch and the fewest threads. Raises
    InputError for a metric, model or axis that no record has, naming the nearest that one has.
    """
    _raise_on_unknown(records, metrics, models)
    by_key: dict[SeriesKey, list[tuple[LocatedRecord, Finding]]] = {}
    for located in records:
        for metric in metrics or MAIN:
            for finding in _findings(located.record, metric, models, axes):
                by_key.setdefault(SeriesKey.of(located.record, finding), []).append((located, finding))
    if not by_key:
        raise InputError(*_nothing_at(records, metrics or MAIN, axes or {}))
    order = {metric: place for place, metric in enumerate(metrics or MAIN)}
    labels = SeriesLabels.of(by_key)
    ordered = sorted(by_key.items(), key=lambda item: order[item[0].metric])
    series = [_series(key, findings, labels) for key, findings in ordered]
    return History(records=len(records), series=tuple(series), notes=tuple(notes))


def _findings(record: RunRecord, metric: str, models: Sequence[str], axes: Axes | None) -> Iterator[Finding]:
    by_model: dict[str, list[Finding]] = {}
    every: tuple[Finding, ...] = (*record.measurements, *record.pairs)
    for finding in every:
        model = model_of(finding)
        if finding.metric == metric and (not models or {model, record.cards[model].name} & set(models)):
            by_model.setdefault(model, []).append(finding)
    for findings in by_model.values():
        if axes is None:
            yield min(findings, key=_headline)
        else:
            yield from (finding for finding in findings if axes.items() <= finding.axes.items())


def _headline(finding: Finding) -> tuple[float, ...]:
    sizes = (finding.axes.get(axis, 0) for axis in ("batch", "threads"))
    return (len(finding.axes), *(size if isinstance(size, int) else 0 for size in sizes))


def _series(key: SeriesKey, findings: Sequence[tuple[LocatedRecord, Finding]], labels: SeriesLabels) -> Series:
    metric = declared.metric(key.metric)
    points = tuple(_point(located, finding, metric) for located, finding in findings)
    places = [place for place, point in enumerate(points) if point.counts]
    values = [value for place in places if (value := points[place].value) is not None]
    # A quotient of predictions' metrics, or of a parity, says nothing.
    relative = not (metric.scored or metric.group == "parity") and all(value > 0 for value in values)
    scatter = _least_scatter([points[place] for place in places], metric, relative, _on_virtual_machine(findings))
    levels, changes = _steps(points, places, values, metric=metric, relative=relative, scatter=scatter)
    return Series(
        model=key.model,
        metric=key.metric,
        unit=metric.unit,
        axes=dict(findings[-1][1].axes),
        teacher=key.teacher,
        machine=key.machine,
        study=labels.study(key),
        test_set=labels.test_set(key),
        relative=relative,
        scatter=scatter,
        points=points,
        levels=levels,
        changes=changes,
        note=_too_few(values, metric),
    )


def _point(located: LocatedRecord, finding: Finding, metric: declared.Metric) -> Point:
    environment = located.record.environment
    reason = finding.reason or "" if finding.status != "ok" else ""
    if finding.status == "unstable":
        reason = f"unstable: {reason}"
    elif finding.evidence == "estimated":
        reason = "an estimate, no measurement"
    return Point(
        run=located.run,
        created=located.record.created,
        commit=environment.git_commit,
        dirty=environment.git_dirty,
        value=finding.value,
        interval=finding.interval,
        reason=reason,
        runtime=environment.libraries.get("onnxruntime") if metric.hardware_dependent else None,
    )


def _on_virtual_machine(findings: Sequence[tuple[LocatedRecord, Finding]]) -> bool:
    return any(located.record.environment.host.get("virtualization") is not None for located, _ in findings)


def _least_scatter(points: Sequence[Point], metric: declared.Metric, relative: bool, virtual: bool) -> float:
    """Return the least standard deviation that points can have around their level: of logarithms where `relative`.

    It is the root mean square of the intervals' standard errors (a half-width is 1.96 of them), or the metric's
    repeatability; of times in ns and rates on a virtual machine also the metric's `run_to_run`. There is no such figure
    for other machines and metrics: their series show it.
    """
    errors = [error for point in points if (error := _standard_error(point, relative)) is not None]
    if errors:
        within_run = math.sqrt(sum(error**2 for error in errors) / len(errors))
    else:
        within_run = (metric.repeatability or 0.0) / 1.96
    return math.hypot(within_run, metric.run_to_run if virtual and metric.unit in {"ns", "1/s"} else 0.0)


def _standard_error(point: Point, relative: bool) -> float | None:
    bounds = point.interval
    if bounds is None or (relative and bounds.low <= 0):
        return None
    width = math.log(bounds.high / bounds.low) if relative else bounds.high - bounds.low
    return width / (2 * 1.96)


def _steps(
    points: Sequence[Point],
    places: Sequence[int],
    values: Sequence[float],
    *,
    metric: declared.Metric,
    relative: bool,
    scatter: float,
) -> tuple[tuple[Level, ...], tuple[Change, ...]]:
    """Return the levels of a series and the changes between them, at the places of the points that count."""
    import numpy as np

    from kdbench.statistics.change_points import exact_steps, find_steps

    if not values:
        return (), ()
    scaled = np.log(values) if relative else np.array(values, dtype=np.float64)
    segments = exact_steps(scaled) if metric.counted else find_steps(scaled, scatter)
    undo = math.exp if relative else float
    ends = (*(start - 1 for start in segments.starts[1:]), len(places) - 1)
    levels = tuple(
        Level(first=places[start], last=places[end], value=undo(mean))
        for start, end, mean in zip(segments.starts, ends, segments.means, strict=True)
    )
    changes = tuple(
        Change(
            at=places[step.at],
            change=undo(step.change),
            interval=Interval(low=undo(step.low), high=undo(step.high)),
            better=(step.change > 0) == metric.higher_is_better,
            runtime=_runtimes(points[places[step.at - 1]], points[places[step.at]]),
        )
        for step in segments.steps
    )
    return levels, changes


def _too_few(values: Sequence[float], metric: declared.Metric) -> str:
    from kdbench.statistics.change_points import FEWEST

    if len(values) >= FEWEST or metric.counted:
        return ""
    return f"that takes {FEWEST} numbers, and there {'is' if len(values) == 1 else 'are'} {len(values)}"


def _runtimes(before: Point, after: Point) -> str:
    return f"{before.runtime} → {after.runtime}" if before.runtime != after.runtime else ""


def _raise_on_unknown(records: Sequence[LocatedRecord], metrics: Sequence[str], models: Sequence[str]) -> None:
    measured = {f.metric for located in records for f in (*located.record.measurements, *located.record.pairs)}
    for metric in metrics:
        if metric not in METRICS and metric not in PAIR_METRICS:
            raise InputError(f"unknown metric {metric!r}", suggestion(metric, [*METRICS, *PAIR_METRICS]))
        if metric not in measured:
            raise InputError(f"no record has {metric}", f"they have {', '.join(sorted(measured))}")
    names = {name for located in records for card in located.record.models for name in (card.id, card.name)}
    for model in models:
        if model not in names:
            raise InputError(f"no record has a model {model!r}", suggestion(model, sorted(names)))


def _nothing_at(records: Sequence[LocatedRecord], metrics: Sequence[str], axes: Axes) -> tuple[str, str]:
    """Return message and hint for axes, or models, without a number of the metrics."""
    values: dict[str, set[str]] = {}
    for located in records:
        for finding in (*located.record.measurements, *located.record.pairs):
            if finding.metric in metrics:
                for axis, value in finding.axes.items():
                    values.setdefault(axis, set()).add(str(value))
    if not axes:
        return f"no record has {' or '.join(metrics)} of these models", "choose with --metric and --model"
    known = "; ".join(f"{axis} {', '.join(sorted(of_axis))}" for axis, of_axis in values.items())
    wanted = ",".join(f"{axis}={value}" for axis, value in axes.items())
    return f"no record has {' or '.join(metrics)} at {wanted}", f"measured at: {known}" if known else "leave out --axes"
