"""What measuring passes return: measurements, pairs, layers, warnings, raw samples and facts of the protocol."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.results.metrics import METRICS, PAIR_METRICS
from kdbench.results.records import Axes, Diagnostic, Interval, Layer, Measurement, Pair, Status, measured
from kdbench.statistics import Estimate, RunSpread, across_runs, within


@dataclass(frozen=True)
class Failure:
    """Why numbers of a model (None: of all) are missing: those of `metrics`, or all, at axes that include `axes`."""

    model: str | None
    reason: str
    status: Status = "error"
    hint: str | None = None
    axes: Axes = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    source: str | None = None

    def covers(self, metric: str, axes: Axes) -> bool:
        """Return whether this explains why `metric` is missing at `axes`."""
        return (not self.metrics or metric in self.metrics) and self.axes.items() <= axes.items()


@dataclass(frozen=True)
class Findings:
    """Results of measuring passes, before they become a record.

    `samples` are the raw samples, named as in `kdbench.results.samples`. `protocol` is how the numbers were measured,
    beyond the configuration, as JSON values. `failures` explain missing numbers.
    """

    measurements: tuple[Measurement, ...] = ()
    pairs: tuple[Pair, ...] = ()
    layers: tuple[Layer, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    samples: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return replace(
            self,
            measurements=self.measurements + other.measurements,
            pairs=self.pairs + other.pairs,
            layers=self.layers + other.layers,
            warnings=self.warnings + other.warnings,
            samples=self.samples | other.samples,
            protocol=self.protocol | other.protocol,
            failures=self.failures + other.failures,
        )

    def sorted(self, key: Callable[[Measurement | Pair], int]) -> "Findings":
        """Return the findings with measurements and pairs in the order of `key`; the sort is stable."""
        return replace(
            self, measurements=tuple(sorted(self.measurements, key=key)), pairs=tuple(sorted(self.pairs, key=key))
        )


def interval_of(estimate: Estimate) -> Interval | None:
    """Return an estimate's interval as a record holds it."""
    low, high = estimate.low, estimate.high
    return None if low is None or high is None else Interval(low=low, high=high)


def estimated_pair(teacher: str, student: str, metric: str, estimate: Estimate, **details: Any) -> Pair:
    """Return the pair of an estimate, with its interval and number of samples; `details` are other fields of `Pair`.

    The interval stays within the metric's possible values.
    """
    bounded = within(estimate, PAIR_METRICS[metric].value_range)
    values = {"interval": interval_of(bounded), "n": estimate.n, **details}
    return Pair(teacher=teacher, student=student, metric=metric, value=estimate.value, **values)


def missing_pair(
    teacher: str, student: str, metric: str, reason: str, status: Status = "unavailable", **details: Any
) -> Pair:
    """Return a pair without a value, and the reason; `details` are other fields of `Pair`."""
    values = {"status": status, "reason": reason, **details}
    return Pair(teacher=teacher, student=student, metric=metric, value=None, **values)


def estimated(model: str, metric: str, estimate: Estimate, **details: Any) -> Measurement:
    """Return the measurement of an estimate, with its interval and number of samples; `details` as for `measured`.

    The interval stays within the metric's possible values.
    """
    bounded = within(estimate, METRICS[metric].value_range)
    return measured(model, metric, estimate.value, interval=interval_of(bounded), n=estimate.n, **details)


def estimated_across_runs(
    model: str, metric: str, estimate: Estimate, spread: RunSpread, **details: Any
) -> Measurement:
    """Return the measurement of an estimate from one run, its interval widened by what runs differ by."""
    interval = interval_of(across_runs(estimate, spread))
    return measured(
        model, metric, estimate.value, interval=interval, within_run=interval_of(estimate), n=estimate.n, **details
    )
