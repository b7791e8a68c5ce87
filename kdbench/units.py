"""The only place where nanoseconds, bytes, MACs and joules become text."""

from collections.abc import Sequence
from decimal import Decimal

_TIME = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_COUNT = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_ENERGY = ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"))
_POWER = ((1.0, "W"), (1e-3, "mW"))
_MASS = ((1e3, "kg"), (1.0, "g"), (1e-3, "mg"), (1e-6, "µg"), (1e-9, "ng"))


def _scaled(value: float, steps: Sequence[tuple[float, str]], digits: int) -> str:
    """Write `value` in the largest unit that leaves it at one or more, with `digits` significant digits."""
    for factor, unit in steps:
        # 999.96 ms must not be written 1000 ms: compare what will be printed, not what is stored.
        if float(f"{abs(value) / factor:.{digits}g}") >= 1 or (factor, unit) == steps[-1]:
            return f"{significant(value / factor, digits)} {unit}".rstrip()
    raise AssertionError("steps is empty")


def _plus_minus(value: float, uncertainty: float, steps: Sequence[tuple[float, str]]) -> str:
    """Write both in the largest unit that leaves the larger of them at one or more: `12.3 ± 0.4 mJ`.

    The uncertainty has one significant digit, two where the first is a 1; the value ends at the same decimal place.
    """
    for factor, unit in steps:
        place = _last_place(uncertainty / factor) if uncertainty else _last_place(value / factor, digits=3)
        # Adding zero turns what rounds to -0 into 0.
        shown, error = (round(each / factor, -place) + 0.0 for each in (value, uncertainty))
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
    # Decimal keeps the digits that rounding left, trailing zeros included, and writes them out at any magnitude.
    return f"{Decimal(f'{value:.{digits - 1}e}'):,f}"


def time(nanoseconds: float) -> str:
    """Write a duration given in nanoseconds: `481 µs`, `9.06 ms`, `1.20 s`."""
    return _scaled(nanoseconds, _TIME, 3)


def duration(seconds: float) -> str:
    """Write a length of work given in seconds: `42.1 s`, `3 min 07 s`, `2 h 05 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def size(n_bytes: float) -> str:
    """Write a size given in bytes, decimal prefixes (1 MB = 1 000 000 bytes): `37.4 MB`."""
    return _scaled(n_bytes, _BYTES, 3)


def count(value: float) -> str:
    """Write a large count, such as MACs or parameters: `153.34 M`."""
    return _scaled(value, _COUNT, 5) if value >= 1000 else f"{value:.0f}"


def whole(value: float) -> str:
    """Write a number of things that are counted one by one, such as images: every digit of it."""
    return f"{value:,.0f}"


def energy(joules: float) -> str:
    """Write an energy given in joules: `12.3 mJ`."""
    return _scaled(joules, _ENERGY, 3)


def energy_plus_minus(joules: float, uncertainty: float) -> str:
    """Write an energy and its uncertainty, both given in joules: `12.3 ± 0.4 mJ`, `598 ± 13 mJ`."""
    return _plus_minus(joules, uncertainty, _ENERGY)


def power(watts: float) -> str:
    """Write a power given in watts: `61.4 W`, `850 mW`."""
    return _scaled(watts, _POWER, 3)


def mass(grams: float) -> str:
    """Write a mass given in grams: `1.23 µg`, `4.50 kg`."""
    return _scaled(grams, _MASS, 3)


def mass_plus_minus(grams: float, uncertainty: float) -> str:
    """Write a mass and its uncertainty, both given in grams: `1.23 ± 0.04 µg`."""
    return _plus_minus(grams, uncertainty, _MASS)


def share(value: float) -> str:
    """Write a share of one as per cent: `91.73 %`."""
    return f"{100 * value:.2f} %"


def points(value: float) -> str:
    """Write a difference of shares, given in percentage points, with its sign: `+0.40`, `0.00`."""
    text = f"{value:+.2f}"
    return text if float(text) else text[1:]


def ratio(value: float) -> str:
    """Write a teacher-over-student ratio: `12.3×`."""
    return f"{significant(value, 3)}×"


def rate(per_second: float) -> str:
    """Write a throughput: `12,300 /s`."""
    return f"{significant(per_second, 3)} /s"


def number(value: float) -> str:
    """Write a dimensionless number, such as a loss in nats: `0.0812`."""
    return f"{value:.4f}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"
