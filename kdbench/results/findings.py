"""What measuring passes return: measurements, pairs, layers, warnings, raw samples and facts of the protocol."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.results.cards import Evidence
from kdbench.results.records import Axes, Diagnostic, Interval, Layer, Measurement, Pair, measured
from kdbench.statistics import Estimate


@dataclass(frozen=True)
class Findings:
    """Results of measuring passes, before they become a record.

    `samples` holds the raw samples, named as in `kdbench.results.samples`.
    `protocol` says how the numbers were measured, beyond the configuration; JSON values. `conditions` are those of every
    session.
    """

    measurements: tuple[Measurement, ...] = ()
    pairs: tuple[Pair, ...] = ()
    layers: tuple[Layer, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    samples: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    conditions: tuple[Any, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return replace(
            self,
            measurements=self.measurements + other.measurements,
            pairs=self.pairs + other.pairs,
            layers=self.layers + other.layers,
            warnings=self.warnings + other.warnings,
            samples=self.samples | other.samples,
            protocol=self.protocol | other.protocol,
            conditions=self.conditions + other.conditions,
        )


def interval_of(estimate: Estimate) -> Interval | None:
    """Return an estimate's interval as a record holds it."""
    if estimate.low is None or estimate.high is None:
        return None
    return Interval(low=estimate.low, high=estimate.high)


def estimated(
    model: str,
    metric: str,
    estimate: Estimate,
    *,
    axes: Axes | None = None,
    source: str | None = None,
    evidence: Evidence = "measured",
    unstable: str | None = None,
) -> Measurement:
    """Return the measurement of an estimate, with its interval and number of samples."""
    return measured(
        model,
        metric,
        estimate.value,
        axes=axes,
        interval=interval_of(estimate),
        n=estimate.n,
        source=source,
        evidence=evidence,
        unstable=unstable,
    )
