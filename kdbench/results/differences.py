"""The interval of the difference of two independent results. Imports `math` alone, so that reports start fast."""

import math

Bounded = tuple[float, float, float]  # a value with its low and its high bound


def difference(first: Bounded, second: Bounded, extra: float = 0.0) -> tuple[float, float]:
    """Return the interval of second - first from (value, low, high) of each, which are independent.

    The method of variance estimates recovery (Zou and Donner 2008): from Wilson's intervals of two shares it computes
    Newcombe's (1998, method 10); half-widths of symmetric intervals it adds in quadrature. `extra` is a further
    half-width.
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return b - a - math.hypot(b - b_low, a_high - a, extra), b - a + math.hypot(b_high - b, a - a_low, extra)
