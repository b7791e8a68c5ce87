"""Comparisons: what changed between two records, or two states of models measured side by side."""

from typing import Literal

from pydantic import Field

from kdbench.results.records import Interval
from kdbench.results.values import StoredValue
from kdbench.user_input.validation import Value

Change = Literal["regressed", "improved", "same", "inconclusive"]
"""Of one number. A change counts when it is both significant and large; `same`: at worst within the threshold."""

CHANGES: tuple[Change, ...] = ("regressed", "inconclusive", "improved", "same")
"""The worst first."""

Strategy = Literal["exact", "paired", "anchored", "separate"]
"""How two numbers were compared: exact counts; side by side; each relative to a model of both records; separately."""

REMEASURED = "compare"
"""The name of a record that was measured only for a comparison."""

_EXIT_CODES: dict[Change, int] = {"improved": 0, "same": 0, "regressed": 1, "inconclusive": 2}


class ComparedMetric(Value):
    """One metric of a model before and after.

    `base` and `new` are values in the metric's unit. `change` is new over base (1: no change), for shares and points
    new minus base in percentage points (0: no change); `interval` is the change's. `threshold` is how much worse the
    change may be, as a positive relative difference, or in points. An `anchored` change is relative to the model
    `anchor`, so it is not the quotient of the two values. `reason` explains an outcome that is not obvious; `remedy` is
    what would settle it.
    """

    base_model: str
    new_model: str
    metric: str
    axes: dict[str, str | int] = Field(default_factory=dict)
    unit: str
    base: float | None = None
    new: float | None = None
    change: float | None = None
    interval: Interval | None = None
    n: int | None = None
    threshold: float
    way: Strategy | None = None
    anchor: str = ""
    outcome: Change
    reason: str = ""
    remedy: str = ""

    @property
    def in_points(self) -> bool:
        """Whether the change is a difference in percentage points rather than a ratio."""
        return self.unit in {"share", "points"}


class Comparison(StoredValue):
    """What changed between two records, or two states of models.

    `base` and `new` describe the states, such as a run's name and commit. `lost` models, which only the base has,
    make the comparison inconclusive at best. `added` are models that only the new state has. `remeasured` says that
    both states were measured side by side on `machine`. `identical` models have the same file in both states and are
    not measured.
    """

    file_kind = "comparison"
    hint = "compare again"

    schema_version: Literal[1] = Field(default=1, alias="schema")
    base: str
    new: str
    created: str
    overall: Change
    remeasured: bool = False
    rows: tuple[ComparedMetric, ...]
    identical: tuple[str, ...] = ()
    machine: str = ""
    lost: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def regressions(self) -> tuple[ComparedMetric, ...]:
        """The numbers that got worse by more than chance and by more than their threshold."""
        return tuple(row for row in self.rows if row.outcome == "regressed")

    @property
    def exit_code(self) -> int:
        """0 same or better, 1 regressed, 2 inconclusive."""
        return _EXIT_CODES[self.overall]
