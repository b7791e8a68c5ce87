"""The comparison of two records: what changed from one state of the models to the other."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from kdbench import storage
from kdbench.results.records import Interval
from kdbench.results.values import StoredValue
from kdbench.validation import Value

Change = Literal["regressed", "improved", "same", "inconclusive"]
"""Of one number. A change counts when it is both significant and large; `same`: at worst within the threshold."""

CHANGES: tuple[Change, ...] = ("regressed", "inconclusive", "improved", "same")
"""The worst first."""

Way = Literal["exact", "paired", "anchored", "separate"]
"""How two numbers were compared: counted; side by side; each beside a model that both records have; on their own."""

REMEASURED = "compare"
"""The name of a record that was measured for a comparison alone."""

_EXIT_CODES: dict[Change, int] = {"improved": 0, "same": 0, "regressed": 1, "inconclusive": 2}


class Compared(Value):
    """One metric of a model before and after.

    `base` and `new` are values in the metric's unit. `change` is new over base, so 1 is no change; for shares, new
    minus base in percentage points, so 0 is none; `interval` is the change's. `threshold` is how much worse the change
    may be, as a positive relative difference, or in points. `anchor` is the model beside which an `anchored` change
    was found: it is then not the quotient of the two values. `reason` says why, where the outcome does not speak for
    itself; `remedy` what would settle it.
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
    way: Way | None = None
    anchor: str = ""
    outcome: Change
    reason: str = ""
    remedy: str = ""

    @property
    def in_points(self) -> bool:
        """Whether the change is a difference in percentage points rather than a ratio."""
        return self.unit == "share"


class Comparison(StoredValue):
    """Two records, or two states of a model measured side by side: what changed.

    `base` and `new` say in words what was compared, such as a run's name and commit. `lost` are models of the base that
    the new one lacks, which makes it inconclusive at best; `added` are new ones, which gate nothing.

    `remeasured` says that both were measured side by side for this comparison; `identical` are then the models whose
    file is the same on both sides, of which nothing was measured, and `machine` says where the others were.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    base: str
    new: str
    created: str
    overall: Change
    remeasured: bool = False
    rows: tuple[Compared, ...]
    identical: tuple[str, ...] = ()
    machine: str = ""
    lost: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 same or better, 1 regressed, 2 inconclusive."""
        return _EXIT_CODES[self.overall]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a comparison; raises InputError where there is none or it is not valid."""
        return cls.from_json(storage.read_json(path, "comparison"), path, "comparison", "compare again")
