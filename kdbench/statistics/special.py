"""The special functions of estimates and intervals, in numpy and the standard library alone.

A device that measures a bundle has numpy and no scipy, and its numbers must be the host's. The regularised incomplete
beta function is the continued fraction of the Digital Library of Mathematical Functions (8.17.22), by Lentz's method
as modified by Thompson and Barnett (1986); the others follow from it. They agree with `scipy.special` to nine digits
(test_special.py).
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", float, NDArray[np.float64])

_TINY = 1e-300
_EPSILON = 1e-15
_MAX_TERMS = 10_000  # some sqrt(max(a, b)) are needed
_MAX_STEPS = 400
_CLOSE = 1e-14


def betainc(a: float, b: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the regularised incomplete beta function I_x(a, b) of each of `x`, for positive `a` and `b`."""
    at = np.asarray(x, dtype=np.float64)
    swapped = at > (a + 1) / (a + b + 2)  # the fraction converges fast below the mean, and I_x(a, b) = 1 - I_1-x(b, a)
    result = np.empty_like(at)
    result[~swapped] = _below(a, b, at[~swapped], 1 - at[~swapped])
    result[swapped] = 1 - _below(b, a, 1 - at[swapped], at[swapped])
    return result


def beta_quantile(a: float, b: float, share: float) -> float:
    """Return x with I_x(a, b) = `share`."""
    if share <= 0 or share >= 1:
        return float(share >= 1)
    low, high, x = 0.0, 1.0, a / (a + b)
    for _ in range(_MAX_STEPS):
        error = _betainc(a, b, x) - share
        low, high = (low, x) if error > 0 else (x, high)
        slope = _density(a, b, x, 1 - x)
        step = x - error / slope if slope > 0 else math.nan
        following = step if low < step < high else (low + high) / 2
        if abs(following - x) <= _CLOSE * x:
            return following
        x = following
    return x


def binomial_cdf(k: int, n: int, p: float) -> float:
    """Return P(X <= k) for X ~ Binomial(n, p)."""
    if k >= n:
        return 1.0
    return _betainc(n - k, k + 1, 1 - p) if k >= 0 else 0.0


def normal_quantile(share: float) -> float:
    """Return the quantile of the standard normal distribution at `share`."""
    return NormalDist().inv_cdf(share)


@lru_cache(maxsize=512)
def t_quantile(degrees: float, share: float) -> float:
    """Return the quantile at `share`, above 1/2, of Student's t with `degrees` of freedom."""
    x = beta_quantile(degrees / 2, 0.5, 2 * (1 - share))
    t = math.sqrt(degrees * (1 - x) / x)
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    for _ in range(2):  # 1 - x of a value near 1 has lost digits, which Newton's steps restore
        tail = _betainc(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2
        t += (tail - (1 - share)) / math.exp(log_scale - (degrees + 1) / 2 * math.log1p(t * t / degrees))
    return t


def _betainc(a: float, b: float, x: float) -> float:
    """Return I_x(a, b) of one number: calling numpy for a single number would take a hundred times as long."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _front(b, a, 1 - x, x) * _fraction(b, a, 1 - x) / b
    return _front(a, b, x, 1 - x) * _fraction(a, b, x) / a


def _below(a: float, b: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return I_x(a, b) for `x` below the mean, `y` being 1 - x."""
    result = np.where(y > 0, 0.0, 1.0)
    inside = (x > 0) & (y > 0)
    if inside.any():
        at, rest = x[inside], y[inside]
        front = np.exp(_log_front(a, b) + a * np.log(at) + b * np.log(rest)) / a
        result[inside] = front * _fraction(a, b, at)
    return result


def _fraction(a: float, b: float, x: F) -> F:
    """Return the continued fraction of one `x`, or of each in an array."""
    c = 0 * x + 1
    d = 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            change = c * d
            value = value * change
        off = abs(change - 1)
        if (off if isinstance(off, float) else off.max()) <= _EPSILON:
            break
    return value


def _not_zero(values: F) -> F:
    return values + (values == 0) * _TINY  # type: ignore[no-any-return]  # numpy's stub of an array's ==


def _front(a: float, b: float, x: float, y: float) -> float:
    """Return x^a y^b / B(a, b), `y` being 1 - x."""
    return math.exp(_log_front(a, b) + a * math.log(x) + b * math.log(y))


def _density(a: float, b: float, x: float, y: float) -> float:
    """Return the derivative of I_x(a, b), `y` being 1 - x."""
    if x <= 0 or y <= 0:
        return 0.0
    return math.exp(_log_front(a, b) + (a - 1) * math.log(x) + (b - 1) * math.log(y))


def _log_front(a: float, b: float) -> float:
    return math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
