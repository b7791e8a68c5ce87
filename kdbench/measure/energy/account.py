"""What windows of energy say of one call: the value, and how sure it is.

A value is the median of the windows. Its standard uncertainty has three parts, combined as the GUM does (JCGM 100:2008,
5.1): the spread between windows; the counter's steps, a period's worth of the power, evenly distributed (4.3.7 there);
and, of net energy, that of the idle power. It says how well the energy repeats on this machine in these minutes; how
well the meter itself is calibrated, no meter tells.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.meters.meter import record_name
from kdbench.results.cards import Evidence

IDLE_DRIFT = 0.05
WINDOW_SPREAD = 0.05
# Windows of half a second see one state of clocks, fans and temperature, and no number of them says how far the next
# minute's is: as a share of the value, a standard uncertainty of its own.
QUICK_RESOLUTION = 0.025
_OF_A_MEDIAN = math.sqrt(math.pi / 2)  # standard error of a median over that of a mean, of normal values


@dataclass(frozen=True)
class MeterProfile:
    """One source as the pass read it: its update period, and the idle power in windows of at least `idle_s` each.

    The first lies before all rounds of windows, one after each of them.
    """

    name: str
    scope: str
    evidence: Evidence
    period_s: float
    idle_w: NDArray[np.float64]
    idle_s: float


@dataclass(frozen=True)
class Account:
    """What one meter, or several together, counted of one run (a model at a batch); an element a window.

    `gross_j` and `seconds` are one call's; `idle_w` are the idle powers, an element an idle window. `step_j` is the
    standard uncertainty of `gross_j` by the counter's steps, `idle_step_w` that of the mean idle power. `resolution` is
    a standard uncertainty besides, as a share of the gross energy.
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
        """Return the account of both meters together, which must not overlap."""
        return Account(
            scope=f"{self.scope} + {other.scope}",
            source=f"{self.source}; {other.source}",
            evidence=self.evidence if self.evidence != "measured" else other.evidence,
            gross_j=self.gross_j + other.gross_j,
            seconds=self.seconds,
            step_j=math.hypot(self.step_j, other.step_j),
            idle_w=self.idle_w + other.idle_w,
            idle_step_w=math.hypot(self.idle_step_w, other.idle_step_w),
            resolution=max(self.resolution, other.resolution),
        )


@dataclass(frozen=True)
class Value:
    """An energy of one call in joules, and the half-width of its 95 % interval; `unstable` says why no gate may rely.

    An energy that is not `resolved` is within its uncertainty of none.
    """

    joules: float
    half_width_j: float
    unstable: str | None = None

    @property
    def resolved(self) -> bool:
        """Whether the interval holds energies above zero alone."""
        return self.joules > self.half_width_j


def accounts(
    windows: Sequence[Mapping[str, Any]], meters: Sequence[MeterProfile], *, resolution: float
) -> list[Account]:
    """Return the account of each meter, from the windows of one run as the probe leaves them.

    A window's length and its calls are the leading meter's; what another counted between its own two readings is
    taken as a power over that length.
    """
    calls = np.array([w["calls"] for w in windows], dtype=np.float64)
    seconds = np.array([w["spans"][0][1] / 1e9 for w in windows]) / calls
    found = []
    for number, meter in enumerate(meters):
        watts = np.array([w["spans"][number][0] / (w["spans"][number][1] / 1e9) for w in windows])
        idle_step_w = float(np.mean(meter.idle_w)) * meter.period_s / math.sqrt(3) / meter.idle_s
        found.append(
            Account(
                scope=meter.scope,
                source=record_name(meter.name, meter.scope),
                evidence=meter.evidence,
                gross_j=watts * seconds,
                seconds=seconds,
                step_j=float(np.median(watts * meter.period_s / math.sqrt(3) / calls)),
                idle_w=meter.idle_w,
                idle_step_w=idle_step_w / math.sqrt(len(meter.idle_w)),
                resolution=resolution,
            )
        )
    return found


def gross(account: Account) -> Value:
    """Return the energy of one call, the idle machine's included."""
    centre = float(np.median(account.gross_j))
    spread = float(np.std(account.gross_j, ddof=1)) / centre if centre > 0 else 0.0
    unstable = f"windows differ by {100 * spread:.1f} %" if spread > WINDOW_SPREAD else None
    half = _half_width(account.gross_j, _OF_A_MEDIAN)
    return Value(centre, math.hypot(half, 2 * account.step_j, 2 * account.resolution * centre), unstable)


def net(account: Account) -> Value:
    """Return the energy of one call beyond what the idle machine takes in the same time.

    The uncertainty of the gross energy is this one's too; that of the mean idle power comes on top, by its spread
    between the idle windows and by the counter's steps.
    """
    above = gross(account)
    idle_w, seconds = float(np.mean(account.idle_w)), float(np.median(account.seconds))
    idle_half_w = math.hypot(_half_width(account.idle_w), 2 * account.idle_step_w)
    drift = abs(float(account.idle_w[-1] - account.idle_w[0])) / idle_w if idle_w > 0 else 0.0
    return Value(
        joules=float(np.median(account.gross_j - idle_w * account.seconds)),
        half_width_j=math.hypot(above.half_width_j, idle_half_w * seconds),
        unstable=f"idle power changed by {100 * drift:.1f} %" if drift > IDLE_DRIFT else above.unstable,
    )


def ratio(teacher: Account, student: Account) -> statistics.Estimate:
    """Return teacher over student of the gross energy per call, of windows of the same rounds.

    The geometric mean over the rounds, so not the quotient of the two medians; like every ratio its interval is no
    narrower than `statistics.few_sessions.RESOLUTION` admits. What both shared in a round cancels; each one's steps do
    not, and widen the interval.
    """
    logs = np.log(teacher.gross_j / student.gross_j)
    found = statistics.paired_ratio([np.array([each]) for each in logs])
    assert found.low is not None
    assert found.high is not None
    steps = math.hypot(*(each.step_j / float(np.median(each.gross_j)) for each in (teacher, student)))
    half = math.hypot(math.log(found.high / found.low) / 2, 2 * steps)
    return statistics.Estimate(found.value, found.value * math.exp(-half), found.value * math.exp(half), found.n)


def _half_width(values: NDArray[np.float64], widened: float = 1.0) -> float:
    """Return half of the 95 % interval of the mean of a few values (Student's t), `widened` for another statistic."""
    found = statistics.mean(values)
    assert found.high is not None
    return (found.high - found.value) * widened
