"""One metric over the records of a folder: its time series, and the change points in each.

The study's name is part of a series' key, because models of two studies may share only a name, such as "teacher".
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdbench.errors import InputError
from kdbench.files.cycles import cycle_collection_paused
from kdbench.judge.excerpts import MAIN, Excerpt, Finding
from kdbench.judge.limits import RELIABLE
from kdbench.judge.located_records import LocatedRecord
from kdbench.registry import suggestion
from kdbench.results import metrics as declared
from kdbench.results.histories import Change, History, Level, Point, Series
from kdbench.results.metrics import METRICS, PAIR_METRICS
from kdbench.results.records import Axes, Interval, Pair

_HOST = ("cpu", "machine", "cores_physical", "cores_logical", "cores_usable", "cpu_quota_cores", "gpu")


@dataclass(frozen=True)
class SeriesKey:
    """What the points of one series have in common.

    `study` is the name of the records. `host` has facts of the machine, if the metric depends on it; `test_set` is the
    hash of the test data, if the metric is scored.
    """

    metric: str
    model: str
    axes: tuple[tuple[str, str | int], ...]
    teacher: str | None
    host: tuple[str | float | None, ...]
    study: str
    test_set: str | None

    @classmethod
    def of(cls, record: Excerpt, finding: Finding) -> "SeriesKey":
        """Return the key of the series that a record's finding belongs to."""
        metric = declared.metric(finding.metric)
        return cls(
            finding.metric,
            finding.student if isinstance(finding, Pair) else finding.model,
            tuple(sorted(finding.axes.items())),
            finding.teacher if isinstance(finding, Pair) else None,
            tuple(record.environment.host.get(fact) for fact in _HOST) if metric.hardware_dependent else (),
            record.name,
            record.test_set if metric.scored else None,
        )

    @property
    def machine(self) -> str:
        """What distinguishes the machine, in words; empty for a metric that does not depend on it."""
        if not self.host:
            return ""
        host = dict(zip(_HOST, self.host, strict=True))
        cores = host["cores_usable"] or host["cores_logical"]
        words = [host["cpu"] or host["machine"] or "unknown machine", f"{cores} cores" if cores else None, host["gpu"]]
        return ", ".join(str(word) for word in words if word)


@cycle_collection_paused()
def history(
    records: Sequence[LocatedRecord],
    metrics: Sequence[str] = (),
    models: Sequence[str] = (),
    axes: Axes | None = None,
    notes: Sequence[str] = (),
) -> History:
    """Return the series of `metrics` over records, oldest first.

    `metrics` are by default those of `MAIN` that the records have. `models` are names or ids. With `axes`, the result
    has every series whose axes include them; without, one for each model, at the fewest axes, the smallest batch and
    the fewest threads. Raises InputError, with the nearest known one, for a metric, model or axis that no record has.
    """
    _raise_on_unknown(records, metrics, models)
    by_key: dict[SeriesKey, list[tuple[LocatedRecord, Finding]]] = {}
    for located in records:
        for metric in dict.fromkeys(metrics or MAIN):
            for finding in _chosen(located.record, located.findings(metric), models, axes):
                by_key.setdefault(SeriesKey.of(located.record, finding), []).append((located, finding))
    if not by_key:
        raise InputError(*_no_numbers_at(records, metrics or MAIN, axes or {}))
    order = {metric: number for number, metric in enumerate(metrics or MAIN)}
    ordered = sorted(by_key.items(), key=lambda item: order[item[0].metric])
    context = _Context.of(by_key)
    series = [_series(key, findings, context) for key, findings in ordered]
    return History(records=len(records), series=tuple(series), notes=tuple(notes))


@dataclass(frozen=True)
class _Context:
    """The studies of a history and the test sets of each study: a series names its own where there are several."""

    studies: frozenset[str]
    test_sets: Mapping[str, frozenset[str | None]]

    @classmethod
    def of(cls, keys: Iterable[SeriesKey]) -> "_Context":
        by_study: dict[str, set[str | None]] = {}
        for key in keys:
            test_sets = by_study.setdefault(key.study, set())
            if declared.metric(key.metric).scored:
                test_sets.add(key.test_set)
        return cls(frozenset(by_study), {study: frozenset(names) for study, names in by_study.items()})


def _chosen(
    record: Excerpt, findings: Sequence[Finding], models: Sequence[str], axes: Axes | None
) -> Iterator[Finding]:
    by_model: dict[str, list[Finding]] = {}
    for finding in findings:
        model = finding.student if isinstance(finding, Pair) else finding.model
        if not models or {model, record.models.get(model)} & set(models):
            by_model.setdefault(model, []).append(finding)
    for model_findings in by_model.values():
        if axes is None:
            yield min(model_findings, key=_headline_order)
        else:
            yield from (finding for finding in model_findings if axes.items() <= finding.axes.items())


def _headline_order(finding: Finding) -> tuple[float, ...]:
    sizes = (finding.axes.get(axis, 0) for axis in ("batch", "threads"))
    return (len(finding.axes), *(size if isinstance(size, int) else 0 for size in sizes))


def _series(key: SeriesKey, findings: Sequence[tuple[LocatedRecord, Finding]], context: _Context) -> Series:
    """Return one series; it names its study and test set where the history has several."""
    metric = declared.metric(key.metric)
    points = tuple(_point(located, finding, metric) for located, finding in findings)
    counting = [index for index, point in enumerate(points) if point.counts]
    values = [value for index in counting if (value := points[index].value) is not None]
    # A quotient of predictions' metrics, or of a parity, has no meaning.
    relative = not (metric.scored or metric.group == "parity") and all(value > 0 for value in values)
    virtual = any(located.record.environment.host.get("virtualization") is not None for located, _ in findings)
    scatter = _least_scatter([points[index] for index in counting], metric, relative, virtual)
    levels, changes = _steps(points, counting, values, metric=metric, relative=relative, scatter=scatter)
    return Series(
        model=key.model,
        metric=key.metric,
        unit=metric.unit,
        axes=dict(findings[-1][1].axes),
        teacher=key.teacher,
        machine=key.machine,
        study=key.study if len(context.studies) > 1 else "",
        test_set=(key.test_set or "unknown") if metric.scored and len(context.test_sets[key.study]) > 1 else "",
        relative=relative,
        scatter=scatter,
        points=points,
        levels=levels,
        changes=changes,
        note=_note_if_short(values, metric),
    )


def _point(located: LocatedRecord, finding: Finding, metric: declared.Metric) -> Point:
    environment = located.record.environment
    reason = finding.reason or "" if finding.status not in RELIABLE else ""
    if finding.status == "unstable" and finding.interval is None:
        reason = f"unstable: {finding.reason}"
    if finding.evidence == "estimated":
        reason = "an estimate, not a measurement"
    return Point(
        run=located.run,
        created=located.record.created,
        commit=environment.git_commit,
        dirty=environment.git_dirty,
        value=finding.value,
        # Without the variation between runs, which the other points of the series show.
        interval=getattr(finding, "within_run", None) or finding.interval,
        reason=reason,
        runtime=environment.libraries.get("onnxruntime") if metric.hardware_dependent else None,
    )


def _least_scatter(points: Sequence[Point], metric: declared.Metric, relative: bool, virtual: bool) -> float:
    """Return the least standard deviation that points can have around their level: of logarithms where `relative`.

    It is the root mean square of the intervals' standard errors (a half-width is 1.96 of them), or the metric's
    repeatability; for times in ns and rates on a virtual machine also the metric's `run_to_run`. For other machines and
    metrics that figure is not known: the series itself shows how much its runs differ.
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
    counting: Sequence[int],
    values: Sequence[float],
    *,
    metric: declared.Metric,
    relative: bool,
    scatter: float,
) -> tuple[tuple[Level, ...], tuple[Change, ...]]:
    """Return the levels of a series and the changes between them; `counting` are the indices of points that count."""
    import numpy as np

    from kdbench.statistics.change_points import exact_steps, find_steps

    if not values:
        return (), ()
    scaled = np.log(values) if relative else np.array(values, dtype=np.float64)
    segments = exact_steps(scaled) if metric.counted else find_steps(scaled, scatter)
    unscaled = math.exp if relative else float
    runtimes = [points[index].runtime for index in counting]
    ends = (*(start - 1 for start in segments.starts[1:]), len(counting) - 1)
    levels = tuple(
        Level(first=counting[start], last=counting[end], value=unscaled(mean))
        for start, end, mean in zip(segments.starts, ends, segments.means, strict=True)
    )
    changes = tuple(
        Change(
            at=counting[step.at],
            change=unscaled(step.change),
            interval=Interval(low=unscaled(step.low), high=unscaled(step.high)),
            better=(step.change > 0) == metric.higher_is_better,
            runtime="" if (before := runtimes[step.at - 1]) == (after := runtimes[step.at]) else f"{before} → {after}",
        )
        for step in segments.steps
    )
    return levels, changes


def _note_if_short(values: Sequence[float], metric: declared.Metric) -> str:
    from kdbench.statistics.change_points import MIN_POINTS

    if len(values) >= MIN_POINTS or metric.counted:
        return ""
    return f"detection needs at least {MIN_POINTS} numbers, the series has {len(values)}"


def _raise_on_unknown(records: Sequence[LocatedRecord], metrics: Sequence[str], models: Sequence[str]) -> None:
    measured = {metric for located in records for metric in located.record.metrics}
    for metric in metrics:
        if metric not in METRICS and metric not in PAIR_METRICS:
            raise InputError(f"unknown metric {metric!r}", suggestion(metric, [*METRICS, *PAIR_METRICS]))
        if metric not in measured:
            raise InputError(f"no record has {metric}", f"they have {', '.join(sorted(measured))}")
    names = {name for located in records for card in located.record.models.items() for name in card}
    for model in models:
        if model not in names:
            raise InputError(f"no record has a model {model!r}", suggestion(model, sorted(names)))


def _no_numbers_at(records: Sequence[LocatedRecord], metrics: Sequence[str], axes: Axes) -> tuple[str, str]:
    """Return message and hint for axes, or models, without a number of the metrics."""
    values: dict[str, set[str]] = {}
    for located in records:
        for finding in (finding for metric in metrics for finding in located.findings(metric)):
            for axis, value in finding.axes.items():
                values.setdefault(axis, set()).add(str(value))
    if not axes:
        return f"no record has {' or '.join(metrics)} of these models", "choose with --metric and --model"
    known = "; ".join(f"{axis} {', '.join(sorted(measured))}" for axis, measured in values.items())
    place = ",".join(f"{axis}={value}" for axis, value in axes.items())
    return f"no record has {' or '.join(metrics)} at {place}", f"measured at: {known}" if known else "leave out --axes"
