"""Is a number on the right side of a limit? The one rule behind targets, gates and tests.

A limit is met only where the whole interval lies on its good side, and only by a number that may be relied on: what is
missing, unstable, invalid or estimated meets nothing.
"""

from dataclasses import dataclass
from typing import Literal

from kdbench.cards import Evidence
from kdbench.metrics import metric as declared
from kdbench.records import Interval, Measurement, Pair
from kdbench.verdicts import Outcome

Side = Literal["max", "min"]
_STRENGTH: dict[Evidence, int] = {"estimated": 0, "modelled": 1, "measured": 2}


@dataclass(frozen=True)
class Standing:
    """How a number stands to a limit; `reason` says why in words, `remedy` what would make it a PASS, where known."""

    outcome: Outcome
    reason: str = ""
    remedy: str = ""


def stand(found: Measurement | Pair, side: Side, limit: float, *, weakest: Evidence = "measured") -> Standing:
    """Return how a finding stands to `limit`, in the metric's unit; `weakest` is the weakest evidence admitted."""
    weak = weakness(found, weakest)
    if weak is not None:
        return weak
    write = declared(found.metric).text
    bounds = bounds_of(found)
    assert found.value is not None
    assert bounds is not None, "a finding without bounds is weak"
    sign = 1 if side == "max" else -1
    worst, best = (bounds.high, bounds.low) if side == "max" else (bounds.low, bounds.high)
    at = f"the limit of at {'most' if side == 'max' else 'least'} {write(limit)}"
    if sign * (worst - limit) <= 0:
        return Standing("PASS")
    if sign * (best - limit) > 0:
        return Standing("FAIL", f"{write(found.value)} misses {at}", f"{_distance(found.value, limit)} to go")
    return Standing("MARGINAL", f"the interval [{write(bounds.low)}, {write(bounds.high)}] straddles {at}")


def weakness(found: Measurement | Pair, weakest: Evidence = "measured") -> Standing | None:
    """Return why no limit can be held against a finding, as UNKNOWN; None where one can."""
    hint = (found.hint if isinstance(found, Measurement) else None) or ""
    if found.value is None:
        return Standing("UNKNOWN", found.reason or "not measured", hint)
    if found.status != "ok":
        return Standing("UNKNOWN", f"{found.status}: {found.reason}", "measure again on a quiet machine")
    if _STRENGTH[found.evidence] < _STRENGTH[weakest]:
        return Standing("UNKNOWN", f"{found.evidence}, not {weakest}", hint)
    if bounds_of(found) is None:
        return Standing("UNKNOWN", "one number without an interval proves nothing", "measure in more sessions")
    return None


def bounds_of(found: Measurement | Pair) -> Interval | None:
    """Return what a finding's true number lies within: its interval, or what its metric repeats within."""
    if found.interval is not None or found.value is None:
        return found.interval
    within = declared(found.metric).repeats_within
    if within is None:
        return None
    slack = abs(found.value) * within
    return Interval(low=found.value - slack, high=found.value + slack)


def _distance(value: float, limit: float) -> str:
    return f"{abs(value - limit) / abs(limit):.1%}".replace("%", " %") if limit else "some way"
