"""A number that was found of a model, and limits held against it."""

import math
from collections.abc import Callable
from typing import Protocol

import pytest

from kdbench import units
from kdbench.errors import InputError
from kdbench.judge.limits import Side, check_limit, limit_in_words
from kdbench.report.axes import format_axes
from kdbench.report.cells import Number
from kdbench.results.metrics import Metric
from kdbench.results.records import Axes, Interval, Measurement, Pair
from kdbench.testing.failing import in_tests, told
from kdbench.testing.judged import NOT_JUDGED, Judged

Limit = float | str
"""A number in the metric's own unit, or text with a unit: `"5 ms"`, `"2 MB"`, `"90 %"`."""

_SIDES: dict[Side, str] = {"min": "at least", "max": "at most"}
_MARGINAL = (None, "fail", "pass")


class Sink(Protocol):
    """Where bounds end up: noted with the test, and a failure if they did not pass."""

    @property
    def marginal(self) -> str:
        """What a bound does that the interval straddles: "fail" or "pass"."""

    def judge(self, judged: Judged) -> None:
        """Note a bound; ends the test where it did not pass."""


class MetricCheck:
    """One number, measured or counted; limits are held against its whole interval.

    In a smoke run nothing is measured: a bound is noted and not judged, and a test that reads the number is skipped.
    """

    def __init__(self, subject: str, metric: Metric, find: Callable[[], Measurement | Pair] | None, sink: Sink) -> None:
        self._subject = subject
        self._metric = metric
        self._find = find
        self._sink = sink

    def __repr__(self) -> str:
        return f"<{self._subject}: {self._metric.id}>"

    @property
    def value(self) -> float | None:
        """The number in the metric's unit; None where there is none."""
        return self._read().value

    @property
    def interval(self) -> Interval | None:
        """What the true number lies within, in the metric's unit; None where it was counted, or is missing."""
        return self._read().interval

    @property
    def n(self) -> int | None:
        """The number of samples behind the number."""
        return self._read().n

    @told
    def at_least(self, limit: Limit, *, marginal: str | None = None) -> "MetricCheck":
        """Hold a lower limit; ends the test where it is not met.

        A `marginal` number, whose interval straddles the limit, fails the test unless this, or the session's
        `--kdbench-marginal`, is "pass". Returns the number, for another limit.
        """
        __tracebackhide__ = True
        return self._hold("min", limit, marginal)

    @told
    def at_most(self, limit: Limit, *, marginal: str | None = None) -> "MetricCheck":
        """Hold an upper limit; otherwise as `at_least`."""
        __tracebackhide__ = True
        return self._hold("max", limit, marginal)

    def _hold(self, side: Side, limit: Limit, marginal: str | None) -> "MetricCheck":
        __tracebackhide__ = True
        if marginal not in _MARGINAL:
            raise InputError(f"marginal={marginal!r} is none of {_MARGINAL}")
        number = _number(limit, self._metric)
        asked = f"{_SIDES[side]} {limit_in_words(self._metric, number)}"
        if self._find is None:
            self._sink.judge(Judged(self._subject, self._metric.id, "not measured", asked, NOT_JUDGED, passed=True))
            return self
        found = self._find()
        standing = check_limit(found, side, number)
        lets_pass = {"PASS"} | ({"MARGINAL"} if (marginal or self._sink.marginal) == "pass" else set())
        self._sink.judge(
            Judged(
                subject=self._subject,
                what=at(found.metric, found.axes),
                found=in_text(found, self._metric),
                asked=asked,
                outcome=standing.outcome,
                passed=standing.outcome in lets_pass,
                # Of a FAIL the line above says all but how far it is.
                reason=standing.remedy if standing.outcome == "FAIL" else standing.reason,
                remedy="" if standing.outcome == "FAIL" else in_tests(standing.remedy),
                numbers={**found.model_dump(mode="json"), "side": side, "limit": number},
            )
        )
        return self

    def _read(self) -> Measurement | Pair:
        if self._find is None:
            pytest.skip(f"{self._subject}: {self._metric.id} is read, and only pytest --benchmark measures it")
        return self._find()


def at(metric: str, axes: Axes) -> str:
    """Write which number it is: `latency_p50_ns at batch 1, 1 thread`."""
    # The CPU goes without saying.
    told_axes = {key: value for key, value in axes.items() if (key, value) != ("provider", "cpu")}
    return f"{metric}{format_axes(told_axes, ' at ')}"


def in_text(found: Measurement | Pair, metric: Metric) -> str:
    """Write a finding as `91.73 % [91.18, 92.25] (n = 10,000)`."""
    hint = found.hint if isinstance(found, Measurement) else None
    number = Number(
        metric.text,
        found.value,
        found.interval,
        found.status,
        found.evidence,
        found.reason or "",
        hint or "",
        plus_minus=metric.plus_minus,
    )
    samples = f"(n = {units.whole(found.n)})" if found.n is not None and found.value is not None else ""
    return " ".join(part for part in (number.text, number.interval_text, samples) if part)


def _number(limit: Limit, metric: Metric) -> float:
    """Return a limit in the metric's unit; raises InputError for one that can be no such number."""
    try:
        number = units.parse(limit, metric.unit) if isinstance(limit, str) else float(limit)
    except (ValueError, TypeError) as error:
        raise InputError(f"a limit of {limit!r} for {metric.id}: {error}", _example(metric)) from error
    if metric.unit == "share" and not 0 <= number <= 1:
        raise InputError(f"{metric.id} is a share of one, and {limit!r} is none", f"did you mean '{limit} %'?")
    if not math.isfinite(number) or number < metric.value_range[0]:
        raise InputError(f"a limit of {limit!r} for {metric.id}", _example(metric))
    return number


def _example(metric: Metric) -> str:
    return f"a number in {metric.unit}, or text such as {metric.text(0.9 if metric.unit == 'share' else 5)!r}"
