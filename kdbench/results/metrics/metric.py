"""What is said of every metric once."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A quantity with one meaning.

    `higher_is_better` is None where neither direction is better in itself; `formula` says how the value comes
    about; `text` writes a value of this metric for a person. `plus_minus` writes a value with the half-width of its
    interval; a metric without it has its intervals in brackets, beside the value.

    `hardware_dependent` says that another machine gives another number, as of a time; without it the number is the model
    file's, wherever it was taken. `repeatability` is by what share of itself another run's number may differ where
    one has no interval: 0 where it is counted rather than sampled, None where a number without an interval proves
    nothing.
    """

    id: str
    title: str
    unit: str
    higher_is_better: bool | None
    formula: str
    text: Callable[[float], str]
    plus_minus: Callable[[float, float], str] | None = None
    hardware_dependent: bool = False
    repeatability: float | None = None
