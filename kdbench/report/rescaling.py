"""Numbers in another unit than their metric's: those whose unit stands in a column's head."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from kdbench import units
from kdbench.report.cells import Number
from kdbench.results.records import Interval

PERCENT = 100.0
MILLIONS = 1e-6


def rescaled(cell: Number, factor: float, write: Callable[[float], str]) -> Number:
    """Return the number times `factor`, and how that is written; a reason stays what it was."""
    bounds = cell.interval
    return replace(
        cell,
        write=write,
        value=None if cell.value is None else factor * cell.value,
        interval=bounds and Interval(low=factor * bounds.low, high=factor * bounds.high, level=bounds.level),
        plus_minus=None,
    )


def complement(cell: Number) -> Number:
    """Return 1 - a share, such as the error of an accuracy."""
    bounds = cell.interval
    return replace(
        cell,
        value=None if cell.value is None else 1 - cell.value,
        interval=bounds and Interval(low=1 - bounds.high, high=1 - bounds.low, level=bounds.level),
    )


def percent(share: Number) -> Number:
    """Return a share as a number of per cent, for a head that says `(%)`: `67.60`."""
    return rescaled(share, PERCENT, partial(units.fixed, decimals=2))


def millions(count: Number) -> Number:
    """Return a count in millions, for a head that says `(M)`: `97.44`."""
    return rescaled(count, MILLIONS, units.two_decimals_or_more)
