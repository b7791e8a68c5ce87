"""The `[sweep.search]` table and ranges of values: the choices of a search, and its goal."""

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from kdbench.errors import InputError
from kdbench.recipe.sweeps.goal import goal_of
from kdbench.user_input.validation import Value, problem

MAX_TRIALS = 5000  # the optimiser's own time grows with their square
DIGITS = 4  # significant ones of a value that a search chooses
_NUMBER = r"[^\s,\[\]{}\"']+?"
_RANGE = re.compile(
    rf"(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})(?:[\s:]+(?:(?P<log>log)|step[\s=:]+(?P<step>{_NUMBER})))?"
)
_RANGE_FORMS = "for example 1..10, 1e-4..1e-1 log or 0..1 step 0.1"


class Range(Value):
    """The numbers from `low` to `high`, both included; whole ones if both are, and all `step` apart if there is one.

    With `log` the search chooses among their logarithms, as for learning rates.
    """

    low: int | float
    high: int | float
    step: int | float | None = Field(default=None, gt=0)
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("low and high: give finite numbers")
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}: low must be the smaller one")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0 and no step")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step is {self.step:g}, which is more than the whole range")
        return self

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    @property
    def count(self) -> int | None:
        """How many values there are; None without a step between them."""
        if self.whole:
            return (int(self.high) - int(self.low)) // int(self.step or 1) + 1
        return None if self.step is None else int((self.high - self.low) / self.step * (1 + 1e-9)) + 1

    def rounded(self, value: float) -> int | float:
        """Return a value of the range as it is set and written: with few digits, and never outside."""
        if self.whole:
            return int(value)
        short = float(f"{value:.{DIGITS}g}") if self.step is None else float(f"{value:.12g}")
        return min(max(short, float(self.low)), float(self.high))


Choices = tuple[Any, ...] | Range
"""The values of an axis: a list, or a range."""


class Search(Value):
    """How the points of a sweep are chosen: by an optimiser, `trials` of them, for a `goal`.

    `prune` ends trainings early whose curves are among the worse (asynchronous successive halving): at `min_epochs`,
    and at each `reduction` times as many, the best 1 / `reduction` of them continue.

        [sweep]
        axes = { "terms.0.temperature" = { low = 1, high = 10 }, "model.widths" = [[8, 16], [16, 32]] }

        [sweep.search]
        goal = "max top1 where latency_p50_ns <= 2 ms"
        trials = 50
    """

    method: Literal["optuna"] = "optuna"
    goal: str
    trials: int = Field(default=20, ge=1, le=MAX_TRIALS)
    prune: bool = True
    min_epochs: int | None = Field(default=None, ge=1)
    reduction: int = Field(default=3, ge=2, le=16)

    @field_validator("goal")
    @classmethod
    def _readable(cls, text: str) -> str:
        try:
            return str(goal_of(text))
        except InputError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error


def range_of(text: str) -> Range | None:
    """Read a range as it is typed: `1..10`, `1e-4..1e-1 log`, `0..1 step 0.1`; None for other text.

    Raises InputError for a range that is not possible.
    """
    low, dots, _ = text.partition("..")
    intended = dots and _number(low.strip()) is not None and "/" not in text  # a path may begin so
    match = _RANGE.fullmatch(text.strip())
    typed = {} if match is None else {key: match[key] for key in ("low", "high", "step") if match[key]}
    numbers = {key: number for key, word in typed.items() if (number := _number(word)) is not None}
    if match is None or numbers.keys() != typed.keys():
        if intended:
            raise InputError(f"range {text.strip()!r} is not of the form LOW..HIGH", _RANGE_FORMS)
        return None
    try:
        return Range.model_validate({**numbers, "log": match["log"] is not None})
    except ValidationError as error:
        reason = problem(error, Range).message
        raise InputError(f"range {text.strip()!r}: {reason}", _RANGE_FORMS) from error


def _number(text: str) -> int | float | None:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def probes(axes: Mapping[str, Choices]) -> Iterator[dict[str, Any]]:
    """Yield a few points of a space: the first values of all axes, then each other value, or end, of one axis."""
    first = {key: shown(choices)[0] for key, choices in axes.items()}
    yield first
    for key, choices in axes.items():
        for value in shown(choices)[1:]:
            yield {**first, key: value}


def shown(choices: Choices) -> tuple[Any, ...]:
    """Return the values that stand for an axis: all listed ones, or the ends of a range."""
    return (choices.low, choices.high) if isinstance(choices, Range) else tuple(choices)


def space_size(axes: Mapping[str, Choices]) -> int | None:
    """Return how many points there are; None where a range has no step."""
    counts = [choices.count if isinstance(choices, Range) else len(choices) for choices in axes.values()]
    return math.prod(count for count in counts if count) if all(counts) else None
