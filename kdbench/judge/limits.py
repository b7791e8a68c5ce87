"""Check a number against a limit: the one rule behind targets, gates and tests.

A number meets a limit only if all of its interval does. A missing, invalid or estimated number meets none. A number
whose samples disagree (`unstable`) has a wider interval, and is judged by it like any other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kdbench import units
from kdbench.results.cards import Evidence
from kdbench.results.metrics import Metric, metric
from kdbench.results.records import Interval, Measurement, Pair, Status
from kdbench.results.verdicts import Outcome

Side = Literal["max", "min"]
EVIDENCE_STRENGTH: dict[Evidence, int] = {"estimated": 0, "modelled": 1, "measured": 2}
RELIABLE: frozenset[Status] = frozenset({"ok", "unstable"})
"""The statuses of numbers whose interval can be relied on."""
_MAX_NARROWING = 100.0  # an interval a hundred times narrower takes ten thousand times as many samples

# The adjective of a number above its limit, by unit: `22 % too slow`.
_EXCESS = {"ns": "slow", "s": "slow", "bytes": "large", "MACs": "many", "J": "much", "g": "much"}
_AS_MULTIPLE_FROM = 2.0  # from here on a multiple is clearer than a percentage
_IN_POINTS = {"share": 100.0, "points": 1.0}


@dataclass(frozen=True)
class LimitCheck:
    """The outcome of a check; `reason` says why, `remedy` what would make it a PASS, where known."""

    outcome: Outcome
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Reading:
    """A number, or the reason why there is none, in the form that a limit is checked against.

    `interval` is as measured: `bounds_of` adds the repeatability of a counted number. `within_run` is the part of it
    that a longer run would narrow, if there is another part.
    """

    metric: Metric
    value: float | None
    interval: Interval | None = None
    n: int | None = None
    status: Status = "ok"
    evidence: Evidence = "measured"
    reason: str = ""
    hint: str = ""
    axes: Mapping[str, str | int] = field(default_factory=dict)
    within_run: Interval | None = None


Finding = Measurement | Pair | Reading


def as_reading(finding: Finding) -> Reading:
    """Return a finding of a record as a reading."""
    if isinstance(finding, Reading):
        return finding
    hint = (finding.hint if isinstance(finding, Measurement) else None) or ""
    within_run = finding.within_run if isinstance(finding, Measurement) else None
    number = finding.value, finding.interval, finding.n, finding.status, finding.evidence
    return Reading(metric(finding.metric), *number, finding.reason or "", hint, finding.axes, within_run)


def check_limit(finding: Finding, side: Side, limit: float, *, weakest: Evidence = "measured") -> LimitCheck:
    """Check a finding against `limit`, in the metric's unit; `weakest` is the weakest evidence admitted."""
    problem = reliability_problem(finding, weakest)
    if problem is not None:
        return problem
    reading, bounds = as_reading(finding), bounds_of(finding)
    assert reading.value is not None
    write = units.distinct(reading.metric.text, reading.value, limit)
    assert bounds is not None, "a finding without bounds is not reliable"
    sign = 1 if side == "max" else -1
    worst, best = (bounds.high, bounds.low) if side == "max" else (bounds.low, bounds.high)
    limit_text = (
        f"the limit of at {'most' if side == 'max' else 'least'} {format_limit(reading.metric, limit, reading.value)}"
    )
    if sign * (worst - limit) <= 0:
        return LimitCheck("PASS")
    if sign * (best - limit) > 0:
        return LimitCheck("FAIL", f"{write(reading.value)} misses {limit_text}", _distance(reading, side, limit))
    low, high = (units.bound(write, end, reading.value) for end in (bounds.low, bounds.high))
    reason = f"the interval [{low}, {high}] straddles {limit_text}"
    return LimitCheck("MARGINAL", reason, _how_to_settle(reading, bounds, side, limit))


def reliability_problem(finding: Finding, weakest: Evidence = "measured") -> LimitCheck | None:
    """Return why a finding cannot be checked against any limit, as UNKNOWN; None where it can."""
    reading = as_reading(finding)
    if reading.value is None:
        return LimitCheck("UNKNOWN", reading.reason or "not measured", reading.hint)
    if reading.status not in RELIABLE:
        return LimitCheck("UNKNOWN", f"{reading.status}: {reading.reason}", "measure again on a quiet machine")
    if EVIDENCE_STRENGTH[reading.evidence] < EVIDENCE_STRENGTH[weakest]:
        return LimitCheck("UNKNOWN", f"{reading.evidence}, not {weakest}", reading.hint)
    if bounds_of(finding) is None:
        remedy = "measure in more sessions" if reading.metric.hardware_dependent else "choose a metric with an interval"
        return LimitCheck("UNKNOWN", "a number without an interval decides nothing", remedy)
    return None


def bounds_of(finding: Finding) -> Interval | None:
    """Return the bounds of a finding's true number: its interval, or else its metric's repeatability.

    An estimate has neither, and its error is unknown: if estimates are admitted, the number alone counts. A number
    whose samples disagree repeats worse than its metric does, and has no bounds without an interval.
    """
    reading = as_reading(finding)
    if reading.interval is not None or reading.value is None or reading.status == "unstable":
        return reading.interval
    repeatability = reading.metric.repeatability if reading.evidence == "measured" else 0.0
    if repeatability is None:
        return None
    slack = abs(reading.value) * repeatability
    return Interval(low=reading.value - slack, high=reading.value + slack)


def format_limit(metric: Metric, limit: float, value: float | None = None) -> str:
    """Write a limit as a number of `metric`, a drop without a sign; unlike `value` as it is written."""
    if metric.unit == "points":
        return units.points_allowed(limit)
    return units.chosen(units.distinct(metric.text, limit if value is None else value, limit)(limit))


def _distance(reading: Reading, side: Side, limit: float) -> str:
    """Say how far a number is on the wrong side: `22 % too slow`, `1.30 points short`."""
    assert reading.value is not None
    distance = abs(reading.value - limit)
    if reading.metric.unit in _IN_POINTS:
        points = units.percentage_points(distance * _IN_POINTS[reading.metric.unit])
        return f"{points} {'over' if side == 'max' else 'short'}"
    if limit and reading.value >= _AS_MULTIPLE_FROM * limit:
        return f"{units.significant(reading.value / limit, 2)} times the limit"
    adjective = _EXCESS.get(reading.metric.unit, "high") if side == "max" else "low"
    return f"{units.percent(distance / limit) if limit else reading.metric.text(distance)} too {adjective}"


def _how_to_settle(reading: Reading, bounds: Interval, side: Side, limit: float) -> str:
    """Say what would narrow an interval until it excludes the limit, if the number stays the same.

    The interval of a mean or share narrows with the square root of its number of samples.
    """
    assert reading.value is not None
    misses = (reading.value > limit) == (side == "max") and reading.value != limit
    prefix = f"the number itself is {_distance(reading, side, limit)}; " if misses else ""
    if reading.interval is None:
        return f"{prefix}this number does not repeat well enough for this limit: leave a larger margin"
    narrower = _narrowing(reading, bounds, limit)
    if narrower > _MAX_NARROWING:
        return "too close to the limit for any measurement to decide: leave a larger margin"
    if reading.within_run is not None and not reading.within_run.low <= limit <= reading.within_run.high:
        return f"{prefix}measure it again a few times: earlier runs show how much runs differ on this machine"
    if reading.metric.hardware_dependent:
        options = "--energy=full" if reading.metric.unit == "J" else "a longer --budget and a smaller --precision"
        factor = units.significant(_rounded_up(narrower), 2)
        return f"{prefix}{options} would settle it: the interval has to be {factor} times narrower"
    if reading.n is None:
        return f"{prefix}more test samples would settle it"
    needed = units.integer(_rounded_up(reading.n * narrower**2))
    return f"{prefix}about {needed} test samples would settle it, instead of {units.integer(reading.n)}"


def _narrowing(reading: Reading, bounds: Interval, limit: float) -> float:
    """Return how many times narrower an interval that contains the limit has to be until it excludes it.

    The intervals of times, energies and their ratios are factors around the value: they narrow on the logarithm.
    """
    assert reading.value is not None
    value, bound = reading.value, bounds.low if reading.value > limit else bounds.high
    if reading.metric.hardware_dependent and min(value, limit, bound) > 0:
        value, bound, limit = math.log(value), math.log(bound), math.log(limit)
    gap = abs(value - limit)
    return abs(bound - value) / gap if gap else math.inf


def _rounded_up(value: float) -> float:
    """Return a number above 0 with two significant digits, not below the value apart from rounding errors."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step * (1 - 1e-9)) * step
