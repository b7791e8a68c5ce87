"""Quantities as text and back: the only place that formats nanoseconds, bytes, MACs and joules, or reads `50 ms`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial

_TIME = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_COUNT = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_ENERGY = ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"))
_POWER = ((1.0, "W"), (1e-3, "mW"))
_MASS = ((1e3, "kg"), (1.0, "g"), (1e-3, "mg"), (1e-6, "µg"), (1e-9, "ng"))

_READABLE_FACTOR = 1e6  # between a value and the ends of its interval

# The units that a quantity may be typed in, by the unit of its value. Counts have prefixes only.
_PREFIXES = {unit: factor for factor, unit in _COUNT}
_TYPED: dict[str, dict[str, float]] = {
    "ns": {unit: factor for factor, unit in _TIME} | {"us": 1e3, "m": 60e9, "min": 60e9, "h": 3600e9},
    "s": {"s": 1.0, "ms": 1e-3, "m": 60.0, "min": 60.0, "h": 3600.0},
    "bytes": {unit: factor for factor, unit in _BYTES} | {"KB": 1e3, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    "MACs": _PREFIXES | {f"{unit}MACs": factor for unit, factor in _PREFIXES.items()},
    "1": _PREFIXES | {"×": 1.0, "x": 1.0},
    "J": {unit: factor for factor, unit in _ENERGY} | {"uJ": 1e-6},
    "g": {unit: factor for factor, unit in _MASS} | {"ug": 1e-6},
    "share": {"%": 1e-2},
    "points": {"points": 1.0, "point": 1.0, "pp": 1.0},
    "1/s": {"/s": 1.0, "1/s": 1.0},
}
# A comma separates thousands only: "0,5 s" is an error rather than 5 s. Decimal takes no longer exponents.
_QUANTITY = re.compile(r"([+-]?(?:\d{1,3}(?:,\d{3})+|\d+|(?=\.))(?:\.\d+)?(?:[eE][+-]?\d{1,17})?)\s*((?:1/)?\D*)")


def parse(text: str, unit: str) -> float:
    """Read a quantity such as `50 ms`, `2 min`, `20 MB`, `85 %` or `300 M` as a number in `unit`.

    A number without a unit is in `unit`. Raises ValueError, which names the valid units.
    """
    match = _QUANTITY.fullmatch(text.strip().replace("\N{GREEK SMALL LETTER MU}", "µ"))
    factors = {"": 1.0, unit: 1.0} | _TYPED.get(unit, {})
    valid = ", ".join(known for known in factors if known)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity: write a number, then one of {valid}")
    if match[2] not in factors:
        raise ValueError(f"the unit {match[2]!r} does not fit here; use one of {valid}")
    from decimal import Decimal, Overflow  # so that 1.1 ms is exactly 1,100,000 ns

    try:
        value = float(Decimal(match[1].replace(",", "")) * Decimal(repr(factors[match[2]])))
    except Overflow:
        value = math.inf
    if math.isinf(value):
        raise ValueError(f"{text!r} is too large")
    return value


def _scaled(value: float, *, steps: Sequence[tuple[float, str]], digits: int = 3) -> str:
    """Write `value` in the largest unit that leaves it at one or more, with `digits` significant digits."""
    for factor, unit in steps:
        # 999.96 ms must not be written 1000 ms: compare what will be printed, not what is stored.
        if float(f"{abs(value) / factor:.{digits}g}") >= 1 or (factor, unit) == steps[-1]:
            return f"{significant(value / factor, digits)} {unit}".rstrip()
    raise AssertionError("steps is empty")


def _plus_minus(value: float, uncertainty: float, *, steps: Sequence[tuple[float, str]]) -> str:
    """Write both in the largest unit that leaves the larger of them at one or more: `12.3 ± 0.4 mJ`.

    The uncertainty has one significant digit, two where the first is a 1; the value ends at the same decimal place.
    """
    for factor, unit in steps:
        place = _last_place(uncertainty / factor) if uncertainty else _last_place(value / factor, digits=3)
        # Adding zero turns what rounds to -0 into 0.
        shown, error = (round(number / factor, -place) + 0.0 for number in (value, uncertainty))
        if max(abs(shown), error) >= 1 or (factor, unit) == steps[-1]:
            decimals = max(-place, 0)
            return f"{shown:,.{decimals}f} ± {error:,.{decimals}f} {unit}"
    raise AssertionError("steps is empty")


def _last_place(value: float, digits: int | None = None) -> int:
    """Return the power of ten of the last of `digits` significant digits; of one, or two after a 1, by default."""
    mantissa, _, exponent = f"{value:.{(digits or 2) - 1}e}".partition("e")
    return int(exponent) + 1 - (digits or (2 if mantissa.startswith("1") else 1))


def significant(value: float, digits: int = 3) -> str:
    """Write `value` with `digits` significant digits and never in exponent form."""
    if value == 0:
        return "0"
    from decimal import Decimal  # keeps the digits that rounding left, trailing zeros included, at any magnitude

    return f"{Decimal(f'{value:.{digits - 1}e}'):,f}"


time = partial(_scaled, steps=_TIME)  # nanoseconds: `481 µs`, `9.06 ms`, `1.20 s`
size = partial(_scaled, steps=_BYTES)  # bytes, decimal prefixes (1 MB = 1 000 000 bytes): `37.4 MB`
energy = partial(_scaled, steps=_ENERGY)  # joules: `12.3 mJ`
energy_plus_minus = partial(_plus_minus, steps=_ENERGY)  # joules and their uncertainty: `12.3 ± 0.4 mJ`, `598 ± 13 mJ`
power = partial(_scaled, steps=_POWER)  # watts: `61.4 W`, `850 mW`
mass = partial(_scaled, steps=_MASS)  # grams: `1.23 µg`, `4.50 kg`
mass_plus_minus = partial(_plus_minus, steps=_MASS)  # grams and their uncertainty: `1.23 ± 0.04 µg`
integer = "{:,.0f}".format  # countable things, such as images, with all digits


def duration(seconds: float) -> str:
    """Write a length of work given in seconds: `42.1 s`, `3 min 07 s`, `2 h 05 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def count(value: float) -> str:
    """Write a large count, such as MACs or parameters: `153.34 M`."""
    return _scaled(value, steps=_COUNT, digits=5) if value >= 1000 else f"{value:.0f}"


def share(value: float) -> str:
    """Write a share of one as per cent: `91.73 %`."""
    return f"{100 * value:.2f} %"


def percent(value: float) -> str:
    """Write a relative difference with two digits: `22 %`, `0.41 %`, `1,300 %`."""
    return f"{significant(100 * value, 2)} %"


def points(value: float) -> str:
    """Write a difference of shares, given in percentage points, with its sign: `+0.40`, `0.00`."""
    text = f"{value:+.2f}"
    return text if float(text) else text[1:]


def change(ratio: float) -> str:
    """Write a change, given as new over old, with its sign: `+5.2 %`, `-48.0 %`, `+0.03 %`, `0.0 %`."""
    percentage = 100 * (ratio - 1)
    if abs(percentage) < 1e-6:  # a rounding error of the quotient
        return "0.0 %"
    sign = "-" if percentage < 0 else "+"
    return f"{sign}{abs(percentage):.1f} %" if abs(percentage) >= 0.1 else f"{sign}{significant(abs(percentage), 1)} %"


def tolerance(value: float, *, in_points: bool) -> str:
    """Write a threshold without trailing zeros: `5 %` of a number, or `0.5 points`."""
    return f"{value:g} points" if in_points else f"{100 * value:g} %"


def percentage_points(value: float) -> str:
    """Write the distance of two shares, in percentage points: `1.30 points`."""
    return f"{abs(value):.2f} points"


def points_allowed(value: float) -> str:
    """Write a limit in percentage points without trailing zeros: `1 point`, `0.5 points`."""
    text = f"{value:g}"
    return f"{text} point{'' if text == '1' else 's'}"


def chosen(text: str) -> str:
    """Return a written quantity, such as a limit, without trailing zeros: `20 ms`, `1.5×`."""
    return re.sub(r"(\.\d*?)0+(?!\d)", lambda digits: digits[1].rstrip("."), text)


def ratio(value: float) -> str:
    """Write a teacher-over-student ratio: `12.3×`."""
    return f"{significant(value, 3)}×"


def bound(write: Callable[[float], str], end: float, value: float) -> str:
    """Write one end of the interval of `value`: `0` or `∞` where it is a million times as small or as large.

    The interval of two sessions that disagree may be as wide as that; the digits of its ends have no meaning then.

    >>> bound(ratio, 6.3e-23, 38.2), bound(ratio, 12.0, 38.2)
    ('0', '12.0×')
    """
    if 0 < end < value / _READABLE_FACTOR:
        return "0"
    return "∞" if 0 < value < end / _READABLE_FACTOR else write(end)


def distinct(write: Callable[[float], str], one: float, other: float) -> Callable[[float], str]:
    """Return `write`, or a way to write sizes, counts and ratios with all digits where it hides a difference.

    >>> distinct(size, 9934, 9930)(9934)
    '9,934 B'
    """
    return write if one == other or write(one) != write(other) else _ALL_DIGITS.get(write, write)


_ALL_DIGITS: dict[Callable[[float], str], Callable[[float], str]] = {
    size: "{:,.0f} B".format,
    count: integer,
    ratio: "{:,.6g}×".format,
}


def rate(per_second: float) -> str:
    """Write a throughput: `12,300 /s`."""
    return f"{significant(per_second, 3)} /s"


def number(value: float) -> str:
    """Write a dimensionless number, such as a loss in nats: `0.0812`."""
    return f"{value:.4f}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def error(value: float) -> str:
    """Write an error, whose unit is not known, with four significant digits: `0.3450`, `20,340`, `1.1e-15`."""
    return significant(value, 4) if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def p_value(value: float) -> str:
    """Write the p-value of a test: `0.039`, `< 0.0001`."""
    return significant(value, 2) if value >= 1e-4 else "< 0.0001"


def fixed(value: float, decimals: int) -> str:
    """Write a number whose unit is elsewhere, such as in a column's head: `67.60`."""
    return f"{value:,.{decimals}f}"


def two_decimals_or_more(value: float) -> str:
    """Write a number as `fixed` with two decimals, and one below 1 with three significant digits: `97.44`, `0.0205`."""
    return fixed(value, 2) if abs(value) >= 1 or value == 0 else significant(value, 3)


def threads(count: int) -> str:
    """Return a number of threads in words: `1 thread`, `2 threads`."""
    return f"{count} thread{'s' if count != 1 else ''}"
