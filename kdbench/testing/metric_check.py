"""A metric of a model, with the limits that a test checks."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from kdbench import units
from kdbench.errors import InputError
from kdbench.judge.limits import Side, check_limit, format_limit
from kdbench.report.axes import format_axes
from kdbench.report.cells import Number
from kdbench.results.metrics import Metric
from kdbench.results.records import Axes, Interval, Measurement, Pair
from kdbench.testing.check_results import NOT_JUDGED, CheckResult
from kdbench.testing.context import Context, as_test_options, fails_test
from kdbench.testing.settings import MARGINAL

Limit = float | str
"""A number in the metric's own unit, or text with a unit: `"5 ms"`, `"2 MB"`, `"90 %"`."""

_SIDES: dict[Side, str] = {"min": "at least", "max": "at most"}


class MetricCheck:
    """One number of a model; limits are checked against its whole interval.

    Without `--benchmark` nothing is measured: a limit is not judged, and a test that reads the number is skipped.
    """

    def __init__(
        self, subject: str, metric: Metric, measure: Callable[[], Measurement | Pair] | None, context: Context
    ) -> None:
        self._subject = subject
        self._metric = metric
        self._measure = measure
        self._context = context

    def __repr__(self) -> str:
        return f"<{self._subject}: {self._metric.id}>"

    @property
    def value(self) -> float | None:
        """The number in the metric's unit; None if there is none."""
        return self._read().value

    @property
    def interval(self) -> Interval | None:
        """The number's interval in the metric's unit; None if the number is counted or missing."""
        return self._read().interval

    @property
    def n(self) -> int | None:
        """The number of samples behind the number."""
        return self._read().n

    @fails_test
    def at_least(self, limit: Limit, *, marginal: str | None = None) -> "MetricCheck":
        """Check a lower limit; ends the test if it is not met.

        A marginal number, whose interval straddles the limit, fails the test unless `marginal`, or the session's
        `--kdbench-marginal`, is "pass". Returns itself, for another limit.
        """
        __tracebackhide__ = True
        return self._check("min", limit, marginal)

    @fails_test
    def at_most(self, limit: Limit, *, marginal: str | None = None) -> "MetricCheck":
        """Check an upper limit; otherwise as `at_least`."""
        __tracebackhide__ = True
        return self._check("max", limit, marginal)

    def _check(self, side: Side, limit: Limit, marginal: str | None) -> "MetricCheck":
        __tracebackhide__ = True
        if marginal not in {None, *MARGINAL}:
            raise InputError(f"marginal={marginal!r} is not one of {', '.join(MARGINAL)}")
        number = _number(limit, self._metric)
        if self._measure is None:
            required = f"{_SIDES[side]} {format_limit(self._metric, number)}"
            unjudged = CheckResult(self._subject, self._metric.id, "not measured", required, NOT_JUDGED, passed=True)
            self._context.judge(unjudged)
            return self
        measurement = self._measure()
        check = check_limit(measurement, side, number)
        written = self._metric
        if measurement.value is not None:
            written = replace(written, text=units.distinct(written.text, measurement.value, number))
        passing = {"PASS"} | ({"MARGINAL"} if (marginal or self._context.settings.marginal) == "pass" else set())
        self._context.judge(
            CheckResult(
                subject=self._subject,
                what=at(measurement.metric, measurement.axes),
                observed=as_text(measurement, written),
                required=f"{_SIDES[side]} {format_limit(written, number)}",
                outcome=check.outcome,
                passed=check.outcome in passing,
                # For a FAIL the remedy is the distance from the limit.
                reason=check.remedy if check.outcome == "FAIL" else check.reason,
                remedy="" if check.outcome == "FAIL" else as_test_options(check.remedy),
                numbers={**measurement.model_dump(mode="json"), "side": side, "limit": number},
            )
        )
        return self

    def _read(self) -> Measurement | Pair:
        if self._measure is None:
            pytest.skip(f"{self._subject}: {self._metric.id} is not measured without pytest --benchmark")
        return self._measure()


def at(metric: str, axes: Axes) -> str:
    """Return a metric with its axes, as in `latency_p50_ns at batch 1, 1 thread`; the provider unless it is the CPU."""
    shown = {key: value for key, value in axes.items() if (key, value) != ("provider", "cpu")}
    return f"{metric}{format_axes(shown, ' at ')}"


def as_text(measurement: Measurement | Pair, metric: Metric) -> str:
    """Return a measurement as text, such as `91.73 % [91.18, 92.25] (n = 10,000)`."""
    hint = measurement.hint if isinstance(measurement, Measurement) else None
    number = Number(
        metric.text,
        measurement.value,
        measurement.interval,
        measurement.status,
        measurement.evidence,
        measurement.reason or "",
        hint or "",
        plus_minus=metric.plus_minus,
    )
    samples = ""
    if measurement.n is not None and measurement.value is not None:
        samples = f"(n = {units.integer(measurement.n)})"
    return " ".join(part for part in (number.text, number.interval_text, samples) if part)


def _number(limit: Limit, metric: Metric) -> float:
    """Return a limit in the metric's unit; raises InputError for an impossible one."""
    try:
        number = units.parse(limit, metric.unit) if isinstance(limit, str) else float(limit)
    except (ValueError, TypeError) as error:
        raise InputError(f"a limit of {limit!r} for {metric.id}: {error}", _example(metric)) from error
    if metric.unit == "share" and math.isfinite(number) and not 0 <= number <= 1:
        meant = f"did you mean '{limit} %'?" if not isinstance(limit, str) and 1 < number <= 100 else _example(metric)
        raise InputError(f"{metric.id} is a share between 0 and 1, not {limit!r}", meant)
    if not math.isfinite(number) or number < metric.value_range[0]:
        raise InputError(f"a limit of {limit!r} is not possible for {metric.id}", _example(metric))
    return number


def _example(metric: Metric) -> str:
    if metric.unit == "share":
        return f"a share from 0 to 1, or text such as {metric.text(0.9)!r}"
    return f"a number in {metric.unit}, or text such as {metric.text(5)!r}"
