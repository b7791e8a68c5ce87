"""What is said of every metric once."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A quantity with one meaning.

    `higher_is_better` is None where neither direction is better in itself; `formula` says how the value comes
    about; `text` writes a value of this metric for a person. `plus_minus` writes a value with the half-width of its
    interval; a metric without it has its intervals in brackets, beside the value.
    """

    id: str
    title: str
    unit: str
    higher_is_better: bool | None
    formula: str
    text: Callable[[float], str]
    plus_minus: Callable[[float, float], str] | None = None
