"""The declaration of a metric: the flags that tables, gates, histories and tests use."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Literal

Group = Literal[
    "accuracy", "calibration", "classes", "flips", "fidelity", "risk", "label noise", "mismatches", "gain", "parity",
    "errors", "target errors", "teacher errors", "closed form",
    "latency", "relative", "throughput", "offline", "cold start", "memory", "file", "kernels", "energy", "training",
    "device", "runtimes",
]  # fmt: skip
"""What is measured together: the metrics of one group come from one pass, at the same axes."""

BETWEEN_RUNS = 0.04
"""`run_to_run` of times and of what is computed from them.

Over 40 runs of 20 s in 45 minutes on a virtual machine the medians of four models scattered by 3.8 to 4.5 %
(reports/trust/coverage.json), by far more than the interval of any one run shows.
"""

_SAMPLED, _COUNTED, _POINTS = 0.05, 0.01, 0.5  # regression thresholds: relative, relative, in percentage points
_RANGES = {"share": (0.0, 1.0), "points": (-100.0, 100.0)}  # points: a difference of shares


@dataclass(frozen=True)
class Metric:
    """A quantity with one meaning.

    `formula` describes how the value is computed; `text` writes a value for a person. `plus_minus` writes a value with
    the half-width of its interval; without it the interval follows the value in brackets.

    - `hardware_dependent`: the number depends on the machine, such as a time; otherwise the number is a property of
      the model file.
    - `repeatability`: by what share of itself a number without an interval may differ in another run. 0 for a counted
      number; None if a number without an interval decides nothing.
    - `run_to_run`: the standard deviation between runs on one machine that is not visible within a run, as a share.
    - `scored`: computed from predictions on a data set, so another test set or another training seed changes it.
    - `versus_teacher`: the limit relative to the teacher that a target may set: a drop in points, or a ratio.
    - `compares`: of a pair's metric, the metric of the two models that it compares, where it compares one.
    - `p_value`: the probability of a test, which seeds do not average.
    - `finds`: an axis whose value is part of the result, such as the class that is the worst.
    - `limits`: the least and the greatest possible value; None for what the unit allows.
    """

    id: str
    title: str
    unit: str
    higher_is_better: bool
    formula: str
    text: Callable[[float], str]
    plus_minus: Callable[[float, float], str] | None = None
    _: KW_ONLY
    group: Group
    hardware_dependent: bool = False
    repeatability: float | None = None
    run_to_run: float = 0.0
    scored: bool = False
    versus_teacher: Literal["drop", "ratio"] | None = None
    compares: str | None = None
    p_value: bool = False
    finds: str | None = None
    limits: tuple[float, float] | None = None

    @property
    def counted(self) -> bool:
        """Whether the number is exact: counted rather than sampled."""
        return self.repeatability == 0

    @property
    def sampled(self) -> bool:
        """Whether the number is sampled on a machine: a time, a rate, an energy."""
        return self.hardware_dependent and self.repeatability is None

    @property
    def metered(self) -> bool:
        """Whether the number comes from an energy meter."""
        return self.unit in {"J", "g"}

    @property
    def in_points(self) -> bool:
        """Whether two values are compared by their difference in percentage points rather than by their ratio."""
        return self.unit in {"share", "points"}

    @property
    def to_points(self) -> float:
        """The factor from a value `in_points`, or a difference of two, to percentage points; 1 for other metrics."""
        return 100.0 if self.unit == "share" else 1.0

    @property
    def regression_threshold(self) -> float:
        """How much worse a value may be before it counts as a regression: in points, or as a share of the base."""
        if self.in_points:
            return _POINTS
        return _COUNTED if self.counted else _SAMPLED

    @property
    def value_range(self) -> tuple[float, float]:
        """The least and the greatest possible value."""
        return self.limits or _RANGES.get(self.unit, (0.0, math.inf))

    @property
    def difference_range(self) -> tuple[float, float]:
        """The least and the greatest possible difference of two values."""
        least, most = self.value_range
        return least - most, most - least
