"""The energy of one call, from windows of metered calls, with its uncertainty.

A value is the median of the windows. Its standard uncertainty has three parts, combined as in the GUM (JCGM 100:2008,
5.1): the spread between windows; the counter's steps, each the energy of one update period, uniformly distributed
(4.3.7 there); and, for net energy, the uncertainty of the idle power. The errors from steps are added up (5.2.2 there),
because every window repeats the same error if calls and updates are in phase: more windows do not average it out. The
uncertainty covers how well the energy repeats on this machine within minutes. It does not cover the calibration of the
meter, which no meter reports.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.meters.meter import record_name
from kdbench.results.cards import Evidence

IDLE_DRIFT = 0.05  # a value is unstable if the idle power changes by a larger share …
WINDOW_SPREAD = 0.05  # … or if the standard deviation of its windows is a larger share
_MEDIAN_FACTOR = math.sqrt(math.pi / 2)  # ratio of a median's standard error to a mean's, for normal values


@dataclass(frozen=True)
class MeterProfile:
    """A meter's update period, and the idle power in windows of at least `idle_s` each.

    The first idle window is before all rounds of windows; after each round there is another one.
    """

    name: str
    scope: str
    evidence: Evidence
    period_s: float
    idle_w: NDArray[np.float64]
    idle_s: float


@dataclass(frozen=True)
class Account:
    """The energy that one meter, or several together, counted for one run (a model at a batch).

    gross_j, seconds: of one call; one element per window.
    step_j: standard uncertainty of `gross_j` from the counter's steps.
    idle_w: idle power; one element per idle window.
    idle_step_w: standard uncertainty of the idle power from the counter's steps.
    resolution: an additional standard uncertainty, as a share of the gross energy.
    """

    scope: str
    source: str
    evidence: Evidence
    gross_j: NDArray[np.float64]
    seconds: NDArray[np.float64]
    step_j: float
    idle_w: NDArray[np.float64]
    idle_step_w: float
    resolution: float = 0.0

    def __add__(self, other: "Account") -> "Account":
        """Return the sum of two accounts, whose meters must not overlap."""
        return replace(
            self,
            scope=f"{self.scope} + {other.scope}",
            source=f"{self.source}; {other.source}",
            evidence=self.evidence if self.evidence != "measured" else other.evidence,
            gross_j=self.gross_j + other.gross_j,
            step_j=math.hypot(self.step_j, other.step_j),
            idle_w=self.idle_w + other.idle_w,
            idle_step_w=math.hypot(self.idle_step_w, other.idle_step_w),
            resolution=max(self.resolution, other.resolution),
        )


@dataclass(frozen=True)
class Value:
    """The joules of one call, the half-width of its 95 % interval, and why it is unstable, if it is."""

    joules: float
    half_width_j: float
    unstable: str | None = None

    @property
    def resolved(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.joules > self.half_width_j


def accounts(
    windows: Sequence[Mapping[str, Any]], meters: Sequence[MeterProfile], *, resolution: float
) -> list[Account]:
    """Return the account of each meter, from the probe's windows of one run.

    The leading meter defines the length and the calls of a window. The other meters' joules are converted to the mean
    power between their own two readings, and that power to the energy in a window.
    """
    calls = np.array([w["calls"] for w in windows], dtype=np.float64)
    seconds = np.array([w["spans"][0][1] / 1e9 for w in windows]) / calls
    results = []
    for number, meter in enumerate(meters):
        watts = np.array([w["spans"][number][0] / (w["spans"][number][1] / 1e9) for w in windows])
        idle_step_w = float(np.mean(meter.idle_w)) * meter.period_s / math.sqrt(3) / meter.idle_s
        results.append(
            Account(
                scope=meter.scope,
                source=record_name(meter.name, meter.scope),
                evidence=meter.evidence,
                gross_j=watts * seconds,
                seconds=seconds,
                step_j=float(np.median(watts * meter.period_s / math.sqrt(3) / calls)),
                idle_w=meter.idle_w,
                idle_step_w=idle_step_w,
                resolution=resolution,
            )
        )
    return results


def gross(account: Account) -> Value:
    """Return the energy of one call, idle energy included."""
    return Value(
        joules=float(np.median(account.gross_j)),
        half_width_j=math.hypot(*_gross_half_widths_j(account), 2 * account.step_j),
        unstable=_window_instability(account),
    )


def net(account: Account) -> Value:
    """Return the energy of one call above the idle energy in the same time.

    The mean idle power adds its own uncertainty: its spread between the idle windows, and the counter's steps.
    """
    idle_w, seconds = float(np.mean(account.idle_w)), float(np.median(account.seconds))
    drift_w = abs(float(account.idle_w[-1] - account.idle_w[0]))
    # During the windows the idle power was between its first and last value: uniformly distributed.
    idle_half_w = math.hypot(_half_width(account.idle_w), 2 * drift_w / math.sqrt(12))
    steps_j = account.step_j + account.idle_step_w * seconds
    drift = drift_w / idle_w if idle_w > 0 else 0.0
    return Value(
        joules=float(np.median(account.gross_j - idle_w * account.seconds)),
        half_width_j=math.hypot(*_gross_half_widths_j(account), idle_half_w * seconds, 2 * steps_j),
        unstable=f"idle power changed by {100 * drift:.1f} %" if drift > IDLE_DRIFT else _window_instability(account),
    )


def ratio(teacher: Account, student: Account) -> statistics.Estimate:
    """Return teacher over student of the gross energy per call, from windows of the same rounds.

    It is the geometric mean over the rounds, not the quotient of the two medians. As for every ratio the interval is no
    narrower than `statistics.few_sessions.RESOLUTION` allows. Conditions that both models share in a round cancel; the
    counter's steps do not cancel and widen the interval.
    """
    logs = np.log(teacher.gross_j / student.gross_j)
    paired = statistics.paired_ratio([np.array([log]) for log in logs])
    assert paired.low is not None
    assert paired.high is not None
    steps = sum(account.step_j / float(np.median(account.gross_j)) for account in (teacher, student))
    half_width = math.hypot(math.log(paired.high / paired.low) / 2, 2 * steps)  # of the logarithm
    low, high = paired.value * math.exp(-half_width), paired.value * math.exp(half_width)
    return statistics.Estimate(paired.value, low, high, paired.n)


def _gross_half_widths_j(account: Account) -> tuple[float, float]:
    """Return half of the 95 % intervals from the spread between windows, and from the resolution that they share."""
    centre = float(np.median(account.gross_j))
    return _half_width(account.gross_j, _MEDIAN_FACTOR), 2 * account.resolution * centre


def _window_instability(account: Account) -> str | None:
    centre = float(np.median(account.gross_j))
    spread = float(np.std(account.gross_j, ddof=1)) / centre if centre > 0 else 0.0
    return f"windows differ by {100 * spread:.1f} %" if spread > WINDOW_SPREAD else None


def _half_width(values: NDArray[np.float64], factor: float = 1.0) -> float:
    """Return half of the 95 % interval of the mean (Student's t), times `factor` for another statistic."""
    mean = statistics.mean(values)
    assert mean.high is not None
    return (mean.high - mean.value) * factor
