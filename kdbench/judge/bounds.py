"""Is a number on the right side of a limit? The one rule behind targets, gates and tests.

A limit is met only where the whole interval lies on its good side, and only by a number that may be relied on: what is
missing, unstable, invalid or estimated meets nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kdbench import units
from kdbench.results.cards import Evidence
from kdbench.results.metrics import Metric
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Interval, Measurement, Pair, Status
from kdbench.results.verdicts import Outcome

Side = Literal["max", "min"]
STRENGTH: dict[Evidence, int] = {"estimated": 0, "modelled": 1, "measured": 2}
"""How far evidence may be relied on, the weakest first."""
_HOPELESS = 100.0  # times as narrow, which takes ten thousand times as many samples

# How a number is on the wrong side, by its unit: 22 % too slow.
_TOO = {"ns": "slow", "s": "slow", "bytes": "large", "MACs": "many", "J": "much", "g": "much"}
_TWICE = 2.0  # from here on a multiple says more than a percentage
_IN_POINTS = {"share": 100.0, "points": 1.0}


@dataclass(frozen=True)
class LimitCheck:
    """How a number stands to a limit; `reason` says why in words, `remedy` what would make it a PASS, where known."""

    outcome: Outcome
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Reading:
    """A number, or the reason why there is none, as a limit is held against it; `of` says what it is a number of.

    `interval` is as measured: what a counted number repeats within is told by `bounds_of`.
    """

    of: Metric
    value: float | None
    interval: Interval | None = None
    n: int | None = None
    status: Status = "ok"
    evidence: Evidence = "measured"
    reason: str = ""
    hint: str = ""
    axes: Mapping[str, str | int] = field(default_factory=dict)


Finding = Measurement | Pair | Reading


def reading(found: Finding) -> Reading:
    """Return a finding of a record as a reading."""
    if isinstance(found, Reading):
        return found
    return Reading(
        declared(found.metric),
        found.value,
        found.interval,
        found.n,
        found.status,
        found.evidence,
        found.reason or "",
        (found.hint if isinstance(found, Measurement) else None) or "",
        found.axes,
    )


def check_limit(found: Finding, side: Side, limit: float, *, weakest: Evidence = "measured") -> LimitCheck:
    """Return how a finding stands to `limit`, in the metric's unit; `weakest` is the weakest evidence admitted."""
    weak = weakness(found, weakest)
    if weak is not None:
        return weak
    read, bounds = reading(found), bounds_of(found)
    write = read.of.text
    assert read.value is not None
    assert bounds is not None, "a finding without bounds is weak"
    sign = 1 if side == "max" else -1
    worst, best = (bounds.high, bounds.low) if side == "max" else (bounds.low, bounds.high)
    at = f"the limit of at {'most' if side == 'max' else 'least'} {limit_in_words(read.of, limit)}"
    if sign * (worst - limit) <= 0:
        return LimitCheck("PASS")
    if sign * (best - limit) > 0:
        return LimitCheck("FAIL", f"{write(read.value)} misses {at}", _distance(read, side, limit))
    reason = f"the interval [{write(bounds.low)}, {write(bounds.high)}] straddles {at}"
    return LimitCheck("MARGINAL", reason, _settling(read, bounds, side, limit))


def weakness(found: Finding, weakest: Evidence = "measured") -> LimitCheck | None:
    """Return why no limit can be held against a finding, as UNKNOWN; None where one can."""
    read = reading(found)
    if read.value is None:
        return LimitCheck("UNKNOWN", read.reason or "not measured", read.hint)
    if read.status != "ok":
        return LimitCheck("UNKNOWN", f"{read.status}: {read.reason}", "measure again on a quiet machine")
    if STRENGTH[read.evidence] < STRENGTH[weakest]:
        return LimitCheck("UNKNOWN", f"{read.evidence}, not {weakest}", read.hint)
    if bounds_of(found) is None:
        more = "measure in more sessions" if read.of.hardware_dependent else "choose a metric that has one"
        return LimitCheck("UNKNOWN", "one number without an interval proves nothing", more)
    return None


def bounds_of(found: Finding) -> Interval | None:
    """Return what a finding's true number lies within: its interval, or what its metric repeats within.

    An estimate has neither, and nobody knows how wrong it is: who admits estimates takes the bare number.
    """
    read = reading(found)
    if read.interval is not None or read.value is None:
        return read.interval
    within = read.of.repeatability if read.evidence == "measured" else 0.0
    if within is None:
        return None
    slack = abs(read.value) * within
    return Interval(low=read.value - slack, high=read.value + slack)


def _distance(read: Reading, side: Side, limit: float) -> str:
    """Say how far a number is on the wrong side: `22 % too slow`, `1.30 points short`."""
    assert read.value is not None
    apart = abs(read.value - limit)
    if read.of.unit in _IN_POINTS:
        points = units.points_apart(apart * _IN_POINTS[read.of.unit])
        return f"{points} {'over' if side == 'max' else 'short'}"
    if limit and read.value >= _TWICE * limit:
        return f"{units.significant(read.value / limit, 2)} times the limit"
    how = _TOO.get(read.of.unit, "high") if side == "max" else "low"
    return f"{units.percent(apart / limit) if limit else read.of.text(apart)} too {how}"


def limit_in_words(of: Metric, limit: float) -> str:
    """Write a limit: as a number of that metric, but for a drop without a sign."""
    return units.points_allowed(limit) if of.unit == "points" else units.chosen(of.text(limit))


def _settling(read: Reading, bounds: Interval, side: Side, limit: float) -> str:
    """Say what would narrow an interval until the limit is outside of it, were the number to stay where it is.

    The interval of a mean or share narrows with the root of its samples.
    """
    assert read.value is not None
    misses = (read.value > limit) == (side == "max") and read.value != limit
    begun = f"the number itself is {_distance(read, side, limit)}; " if misses else ""
    if read.interval is None:
        return f"{begun}numbers of this kind repeat no better: leave more room to the limit"
    towards = bounds.low if read.value > limit else bounds.high
    gap = abs(read.value - limit)
    narrower = abs(towards - read.value) / gap if gap else math.inf
    if narrower > _HOPELESS:
        return "too close to the limit for measuring to settle it: leave more room"
    if read.of.hardware_dependent:
        how = "--energy full" if read.of.unit == "J" else "a longer --budget and a smaller --precision"
        return f"{begun}{how} would settle it: the interval must be {units.significant(narrower, 2)} times as narrow"
    if read.n is None:
        return f"{begun}more test samples would settle it"
    needed = units.whole(float(f"{read.n * narrower**2:.1e}"))
    return f"{begun}about {needed} test samples would settle it, in place of {units.whole(read.n)}"
